"""Every number leaves by its own address, with its own token, over its own connections (requirement row FHL-8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from harkara.dispatcher.senders import Senders
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.tokens import Tokens
from harkara.graph_api.outcome import Accepted
from harkara.policy.governance import Governance, Number

ONE, TWO, THREE = "100000000000011", "100000000000012", "100000000000013"
ANSWER = b'{"messages": [{"id": "wamid.A"}]}'


def number(phone_number_id: str, **more: Any) -> Number:
    return Number(
        phone_number_id=phone_number_id,
        display_phone_number=f"+9199999{phone_number_id[-5:]}",
        waba_id="200000000000011",
        portfolio_id="300000000000011",
        token_env=f"TOKEN_{phone_number_id}",
        **more,
    )


class Seen:
    """What the far side saw: (address it came from, token, first line)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.connections: set[tuple[str, int]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        self.connections.add(peer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.calls.append((peer[0], headers["authorization"], lines[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def far_side() -> AsyncIterator[tuple[Seen, int]]:
    seen = Seen()
    server = await asyncio.start_server(seen.answer, "127.0.0.1", 0)
    async with server:
        yield seen, server.sockets[0].getsockname()[1]


@pytest.mark.req("FHL-8", "SEC-4")
async def test_each_number_has_its_own_way_out_token_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with far_side() as (seen, port), far_side() as (proxy, proxy_port):
        governance = Governance(
            numbers=(
                number(ONE, local_address="127.0.0.2"),
                number(TWO, local_address="127.0.0.3"),
                number(THREE, proxy=f"http://127.0.0.1:{proxy_port}"),
            ),
            compliance={"consent_mode": "opt_out"},
        )
        for each in (ONE, TWO, THREE):
            monkeypatch.setenv(f"TOKEN_{each}", f"EAATEST-{each}")
        settings = Settings(graph_base_url=f"http://127.0.0.1:{port}", graph_version="v26.0")
        senders = Senders(settings, governance, Tokens())
        for each in (ONE, TWO, THREE):
            assert await senders.client(each).send(each, {"to": "x"}) == Accepted("wamid.A")
        await senders.aclose()
        assert {(address, token) for address, token, _ in seen.calls} == {
            ("127.0.0.2", f"Bearer EAATEST-{ONE}"),
            ("127.0.0.3", f"Bearer EAATEST-{TWO}"),
        }
        assert len(seen.connections) == 2
        ((_, token, line),) = proxy.calls
        assert token == f"Bearer EAATEST-{THREE}"
        assert line == f"POST http://127.0.0.1:{port}/v26.0/{THREE}/messages HTTP/1.1"


@pytest.mark.parametrize(
    "way_out",
    [
        {"proxy": "http://user:secret@10.0.0.1:3128"},  # no secrets in the policy file
        {"proxy": "https://10.0.0.1:3128"},
        {"proxy": "http://10.0.0.1:3128/path"},
        {"local_address": "example.test"},
        {"local_address": "10.0.0.2", "proxy": "http://10.0.0.1:3128"},
    ],
    ids=str,
)
def test_a_way_out_that_makes_no_sense_is_refused(way_out: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        number(ONE, **way_out)
