"""The API is typed, asks each key for its role, and describes itself whole (ING-18)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from harkara.ingestion.requests import BatchRequest, RunRequest, SendRequest
from harkara.runtime.api_keys import EVERY_ROLE, ApiKey, ApiKeys, Role
from harkara.runtime.problems import MEDIA_TYPE
from tests.unit.ingestion.conftest import Running

ROUTES: list[tuple[str, str, Role]] = [
    ("POST", "/api/v1/send", "send"),
    ("POST", "/api/v1/send/batch", "send"),
    ("POST", "/api/v1/runs", "send"),
    ("POST", "/api/v1/runs/preview", "send"),
    ("POST", "/api/v1/runs/precheck", "send"),
    ("POST", "/api/v1/runs/{run_id}/{word}", "control"),
]
EXAMPLES: dict[str, type[BaseModel]] = {
    "SendRequest": SendRequest,
    "BatchRequest": BatchRequest,
    "RunRequest": RunRequest,
}


def keys() -> ApiKeys:
    """A key for each role but one, named after what it lacks."""
    lacking = [ApiKey(f"no-{role}", "a test", None, EVERY_ROLE - {role}) for role in sorted(EVERY_ROLE)]
    return ApiKeys((key, hashlib.sha256(f"{key.id}.secret".encode()).hexdigest()) for key in lacking)


@pytest.mark.req("ING-18")
@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
async def test_a_route_asks_for_its_role_and_for_no_other(running: Running, method: str, path: str, role: Role) -> None:
    edge = next(each for each in running.app.user_middleware if "keys" in each.kwargs)
    edge.kwargs["keys"] = keys()
    concrete = path.format(run_id="r-1", word="pause")
    body = EXAMPLE_BODIES.get(path)
    for lacks in sorted(EVERY_ROLE):
        answer = await running.post(concrete, body, key=f"no-{lacks}.secret", idem="once")
        if lacks == role:
            assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_REQUIRED")
            assert answer.headers["content-type"] == MEDIA_TYPE
        else:
            assert answer.status_code != 403, lacks


def operations(running: Running) -> list[tuple[str, str, dict[str, Any]]]:
    document = running.app.openapi()
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/v1/")
    ]


@pytest.mark.req("ING-18")
def test_every_operation_is_described_with_its_answers_its_problems_and_an_example(running: Running) -> None:
    document = running.app.openapi()
    found = operations(running)
    assert {(method, path) for method, path, _ in found} == {(method, path) for method, path, _ in ROUTES}
    for method, path, operation in found:
        where = f"{method} {path}"
        assert operation["description"], where
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        assert "$ref" in good["content"]["application/json"]["schema"], where
        assert {"401", "403", "503"} <= operation["responses"].keys(), where
        for status, answer in operation["responses"].items():
            if not status.startswith("2") and MEDIA_TYPE in answer["content"]:
                for code, example in answer["content"][MEDIA_TYPE]["examples"].items():
                    assert (example["value"]["code"], example["value"]["status"]) == (code, int(status)), where
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        name = body.get("$ref", "").rpartition("/")[2]
        schema = document["components"]["schemas"][name] if name else body
        if "{run_id}" not in path:
            assert schema["examples"], where


@pytest.mark.req("ING-18")
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_requests(name: str) -> None:
    model = EXAMPLES[name]
    schema = model.model_json_schema()
    for example in schema["examples"]:
        model.model_validate(example)
        Draft202012Validator(schema).validate(example)


EXAMPLE_BODIES: dict[str, Any] = {
    "/api/v1/send": SendRequest.model_json_schema()["examples"][0],
    "/api/v1/send/batch": BatchRequest.model_json_schema()["examples"][0],
    "/api/v1/runs": RunRequest.model_json_schema()["examples"][0],
    "/api/v1/runs/preview": RunRequest.model_json_schema()["examples"][0],
    "/api/v1/runs/precheck": RunRequest.model_json_schema()["examples"][0],
}
