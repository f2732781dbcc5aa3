"""schemathesis against the simulator's own OpenAPI: no 5xx, no undocumented status, no answer outside its schema.

A small sample runs in the suite; HARKARA_SCHEMA_EXAMPLES=25 makes it the whole (`make schema`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from harkara.graph_simulator.app import build_app, build_simulator
from harkara.graph_simulator.local import Running, running
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.settings import Settings

EXAMPLES = int(os.environ.get("HARKARA_SCHEMA_EXAMPLES", "4"))
"""Requests of each operation: 4 take some 10 s for all, 25 some 20 s."""
NODES = {
    "PhoneNumberId": "100000000000001", "WabaId": "112233445566778", "AppId": "776655443322110",
    "TemplateId": "44556677800001", "Node": "100000000000002",
}  # fmt: skip
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CALM = Scenario(magic_suffixes=False, enforce_pair_limit=False, management_calls_per_hour=1_000_000, window="off")


def _settings() -> Settings:
    return Settings(sim_scenario=CALM, sim_app_secret=SecretStr("webhook-secret"))


SCHEMA = schemathesis.openapi.from_dict(build_app(build_simulator(_settings())).openapi(), config=SchemathesisConfig())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]


@pytest.fixture(scope="module")
def meta() -> Iterator[Running]:
    with running(_settings()) as found:
        yield found


def _known_node(operation: Any, case: Any) -> None:
    """Half of the requests go to something that the world has, else every answer would be "no such object"."""
    if "version" in case.path_parameters:
        case.path_parameters["version"] = "v26.0"
    if "node" not in case.path_parameters or len(str(case.path_parameters["node"])) % 2:
        return
    for parameter in operation.definition.raw.get("parameters", []):
        name = parameter.get("$ref", "").rsplit("/", 1)[-1]
        if name in NODES:
            case.path_parameters["node"] = NODES[name]


@pytest.mark.req("B19")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: f"{found.method.upper()} {found.path}")
def test_every_answer_is_as_the_document_says(operation: Any, meta: Running) -> None:
    headers = {"Authorization": "Bearer EAATEST-system-user"}
    meta.simulator.set_scenario(CALM)  # one of the operations changes it

    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @given(case=operation.as_strategy() | wrong)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def whatever_is_sent(case: Any) -> None:
        _known_node(operation, case)
        response = case.call(base_url=meta.base_url, headers=headers)
        case.validate_response(response, checks=CHECKS)

    whatever_is_sent()


def test_the_document_has_every_route_of_the_graph() -> None:
    """A route without a description would be tested by nobody."""
    app = build_app(build_simulator(_settings()))
    routed = {
        (method, path.rstrip("/"))
        for route in app.routes
        for path in [getattr(route, "path", "")]
        for method in getattr(route, "methods", None) or ()
        if path.startswith("/{version}") and method != "HEAD"
    }
    documented = {(operation.method.upper(), operation.path.rstrip("/")) for operation in OPERATIONS}
    assert routed <= documented


def test_the_document_is_served(meta: Running) -> None:
    with httpx.Client(base_url=meta.base_url) as http:
        document = http.get("/_simulator/openapi.json").json()
    assert {"/{version}/{node}/messages", "/_simulator/ledger"} <= set(document["paths"])
