"""Waiting for a condition with a deadline, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(
    condition: Callable[[], Awaitable[bool]] | Callable[[], bool], timeout_seconds: float = 20.0, every: float = 0.05
) -> None:
    """Return once the condition holds. Raises AssertionError naming it after the deadline."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while True:
        result = condition()
        if result is True or (not isinstance(result, bool) and await result):
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{getattr(condition, '__qualname__', condition)} not true in {timeout_seconds} s")
        await asyncio.sleep(every)
