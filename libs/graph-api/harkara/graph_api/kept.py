"""Clients that live on while what they were made of stays the same: a changed way out makes a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from harkara.graph_api.client import GraphClient


class KeptClients:
    """One client a name. One that is put aside is closed by `close_old`, once its calls have ended: whoever asks by a
    name has no other call of that name under way."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, GraphClient]] = {}
        self._old: list[GraphClient] = []

    def of(self, name: str, made_of: Hashable, make: Callable[[], GraphClient]) -> GraphClient:
        """The client of that name; made anew where it was made of something else."""
        known = self._kept.get(name)
        if known is not None and known[0] == made_of:
            return known[1]
        if known is not None:
            self._old.append(known[1])
        client = make()
        self._kept[name] = made_of, client
        return client

    async def close_old(self) -> None:
        """Close those that were put aside. To be called while none of their calls is under way."""
        old, self._old = self._old, []
        await asyncio.gather(*(client.aclose() for client in old))

    async def aclose(self) -> None:
        """Close all."""
        kept, self._kept = self._kept, {}
        self._old += [client for _, client in kept.values()]
        await self.close_old()
