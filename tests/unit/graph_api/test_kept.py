"""Clients that are kept, and made anew where their way out is another one."""

from __future__ import annotations

import httpx

from harkara.graph_api.client import GraphClient
from harkara.graph_api.kept import KeptClients


class Wire(httpx.AsyncBaseTransport):
    """A way out that knows whether it was closed."""

    closed = False

    async def aclose(self) -> None:
        self.closed = True


async def test_a_client_lives_as_long_as_what_it_is_made_of() -> None:
    kept, wires = KeptClients(), list[Wire]()

    def make() -> GraphClient:
        wires.append(Wire())
        return GraphClient("http://graph", "v26.0", lambda: "EAATEST-one", transport=wires[-1])

    first = kept.of("one", ("http://proxy-a:3128",), make)
    other = kept.of("two", ("http://proxy-a:3128",), make)
    assert kept.of("one", ("http://proxy-a:3128",), make) is first is not other
    second = kept.of("one", ("http://proxy-b:3128",), make)
    assert second is not first and kept.of("one", ("http://proxy-b:3128",), make) is second
    assert [wire.closed for wire in wires] == [False] * 3, "a call of the old one may be under way"
    await kept.close_old()
    assert [wire.closed for wire in wires] == [True, False, False]
    await kept.aclose()
    assert [wire.closed for wire in wires] == [True] * 3
