"""What Kafka ends is begun anew; anything else ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiokafka.errors import KafkaConnectionError

from harkara.ingestion import revived
from harkara.ingestion.revived import Revived
from tests.support.wait import eventually


@dataclass
class Part:
    """Ends by `error`, or runs on."""

    error: Exception | None
    name: str = "part"
    began: bool = False

    def ready(self) -> str | None:
        return None if self.began else "not begun"

    async def run(self) -> None:
        self.began = True
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()


def parts(*errors: Exception | None) -> tuple[list[Part], Iterator[Part]]:
    made = [Part(error) for error in errors]
    return made, iter(made)


@pytest.mark.parametrize("error", [KafkaConnectionError(), ConnectionResetError(), TimeoutError()])
async def test_an_error_of_kafkas_is_outlived_by_a_new_one(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(revived, "PAUSE_SECONDS", 0.01)
    made, given = parts(error, error, None)
    component = Revived(lambda: next(given))
    assert (component.name, component.ready()) == ("part", "not begun")
    running = asyncio.create_task(component.run())
    await eventually(lambda: made[2].began)
    assert component.ready() is None
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_any_other_error_ends_it() -> None:
    made, given = parts(RuntimeError("topics do not exist"), None)
    with pytest.raises(RuntimeError):
        await Revived(lambda: next(given)).run()
    assert not made[1].began
