"""A coroutine begun outside a task goes on in one as if it had been begun there."""

from __future__ import annotations

import asyncio

import pytest

from harkara.runtime.faust_transport import Begun


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    async def three() -> int:
        return 3

    begun = Begun(three())
    assert (begun.done, begun.result) == (True, 3)


async def test_what_waits_goes_on_where_it_stood() -> None:
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    second: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def both() -> int:
        return await first + await second

    begun = Begun(both())
    assert not begun.done
    task = asyncio.ensure_future(begun)
    first.set_result(3)
    asyncio.get_running_loop().call_soon(second.set_result, 4)
    assert await task == 7


async def test_it_may_wait_for_what_has_happened_meanwhile() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def once() -> int:
        return await future

    begun = Begun(once())
    future.set_result(5)
    assert await begun == 5


async def test_what_it_raises_and_its_cancellation_are_its_callers() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    cancelled = []

    async def wait() -> int:
        try:
            return await future
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def divide() -> float:
        return 1 / 0

    task = asyncio.ensure_future(Begun(wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [True]
    with pytest.raises(ZeroDivisionError):
        Begun(divide())
