"""A message's state by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from harkara.message_state.routes import build_app
from harkara.runtime.api_keys import ApiKey, ApiKeys, new_key

KEY, DIGEST = new_key("shop")
STATE = {"message_id": "m-00000001", "status": "read", "version": 9}


@dataclass
class Held:
    """What an instance holds."""

    owned: frozenset[int] = frozenset({0, 2})
    states: dict[str, dict[str, Any]] = field(default_factory=lambda: {"m-00000001": STATE})

    def find(self, message_id: str) -> dict[str, Any] | None:
        return self.states.get(message_id)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def client(held: Held) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(ApiKeys([(ApiKey("shop", "the shop"), DIGEST)]), held)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://state", headers=headers) as opened:
        yield opened


@pytest.mark.req("WHK-9")
async def test_a_state_comes_with_its_version(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/messages/m-00000001")
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, STATE, '"9"')
    unchanged = await client.get("/api/v1/messages/m-00000001", headers={"If-None-Match": '"9"'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_nobody_asks_without_a_key(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/messages/m-00000001", headers={"Authorization": "Bearer shop.wrong"})
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")


async def test_what_is_not_here_says_what_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/messages/m-00000002")
    assert (answer.status_code, answer.json()["code"]) == (404, "MESSAGE_NOT_HERE")
    assert answer.headers["x-harkara-partitions"] == "0,2"
    assert (await client.get("/api/v1/messages/a%20b")).status_code == 422


async def test_while_partitions_move_nothing_is_denied(client: httpx.AsyncClient, held: Held) -> None:
    held.owned = frozenset()
    answer = await client.get("/api/v1/messages/m-00000001")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "NOT_READY", "5")
