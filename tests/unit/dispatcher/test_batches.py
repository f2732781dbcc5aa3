"""When events that were written together are done: in the order in which they were written."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from harkara.dispatcher.emitter import NotWritten, _Batch

SAID: Any = None
"""librdkafka's message, of which a batch asks nothing."""


class Refused:
    """As librdkafka says it."""

    def name(self) -> str:
        return "MSG_SIZE_TOO_LARGE"


def batch(told: list[int], number: int) -> _Batch:
    loop = asyncio.get_running_loop()
    made = _Batch(loop.create_future(), loop)
    made.done.add_done_callback(lambda _: told.append(number))
    return made


@pytest.mark.parametrize("first", ["acknowledged, then closed", "closed, then acknowledged"])
@pytest.mark.parametrize("second", ["acknowledged, then closed", "closed, then acknowledged"])
async def test_the_first_is_done_first_whenever_its_acknowledgements_come(first: str, second: str) -> None:
    """All within one turn of the loop, in which the polling thread was faster than it."""
    told: list[int] = []
    for number, order in enumerate((first, second)):
        one = batch(told, number)
        one.written = 2
        one.acknowledged(None, SAID)
        if order == "closed, then acknowledged":
            one.close()
        one.acknowledged(None, SAID)
        if order == "acknowledged, then closed":
            one.close()
    await asyncio.sleep(0.05)
    assert told == [0, 1]


async def test_what_was_refused_is_raised_once_all_of_it_was_told() -> None:
    one = batch([], 0)
    one.written = 2
    done = one.close()
    one.acknowledged(cast("Any", Refused()), SAID)
    await asyncio.sleep(0.01)
    assert not done.done()
    one.acknowledged(None, SAID)
    with pytest.raises(NotWritten, match="MSG_SIZE_TOO_LARGE"):
        await done


async def test_a_batch_of_nothing_is_done_without_an_acknowledgement() -> None:
    await asyncio.wait_for(batch([], 0).close(), 5)
