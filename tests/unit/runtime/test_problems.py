"""RFC 9457 answers: every refusal has the same shape and repeats nothing of what was sent."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from harkara.runtime.problems import MOST_ERRORS, Problem, install, validation_problem


class Cat(BaseModel):
    kind: Literal["cat"]
    name: str


class Dog(BaseModel):
    kind: Literal["dog"]


class Body(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    age: Annotated[int, Field(ge=0)]


def app() -> FastAPI:
    found = FastAPI()
    install(found)

    @found.post("/pets")
    async def pets(body: Body) -> Body:
        return body

    @found.get("/full")
    async def full() -> None:
        raise Problem(429, "QUEUE_FULL", "The queue is full", headers={"Retry-After": "3"})

    @found.get("/broken")
    async def broken() -> None:
        raise RuntimeError("+919999912345")

    return found


@pytest.fixture
def http() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_a_problem_is_answered_as_it_was_raised(http: httpx.AsyncClient) -> None:
    answer = await http.get("/full")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert answer.json() == {
        "type": "urn:harkara:problem:queue-full", "title": "The queue is full", "status": 429, "code": "QUEUE_FULL",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"pet": {"kind": "+919999912345"}, "age": 1}', ["pet"]),
        (b'{"pet": {"kind": "cat"}, "age": "x+919999912345"}', ["pet.cat.name", "age"]),
        (b'{"pet": +919999912345', ["8"]),
        (b"[]", ["body"]),
    ],
)
async def test_an_invalid_body_names_the_fields_and_repeats_no_value(
    http: httpx.AsyncClient, body: bytes, fields: list[str]
) -> None:
    answer = await http.post("/pets", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert "919999912345" not in answer.text


async def test_an_unknown_path_and_method_are_problems_too(http: httpx.AsyncClient) -> None:
    missing, wrong = await http.get("/none"), await http.delete("/pets")
    assert (missing.json()["code"], wrong.json()["code"]) == ("NOT_FOUND", "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "POST"


async def test_our_own_fault_says_nothing_of_its_cause(http: httpx.AsyncClient) -> None:
    answer = await http.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "919999912345" not in answer.text


def test_the_list_of_errors_is_bounded_and_counted() -> None:
    body = validation_problem([{"loc": ("body", n), "msg": "wrong", "type": "x"} for n in range(1000)]).body()
    assert (len(body["errors"]), body["errors_total"]) == (MOST_ERRORS, 1000)
