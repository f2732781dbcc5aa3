"""message-state killed at random while it folds: whether every message ends in the one state that the join gives."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harkara.contracts.lifecycle import MessageState, advance
from harkara.message_state.settings import Settings
from tests.integration.message_state.test_message_state import feed, life_of, states
from tests.support.services import GOVERNANCE_FILE, isolated, service_process
from tests.support.wait import eventually

MESSAGES = 300
ENVIRONMENT = {"HARKARA_GOVERNANCE_FILE": str(GOVERNANCE_FILE)}


@dataclass(frozen=True)
class Deaths:
    """One run. `wrong`: the messages whose published state is not the join of their events."""

    seed: int
    deaths: int
    events: int
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Nothing lost and nothing invented."""
        return not self.wrong

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.deaths} deaths: {len(self.wrong)} states are wrong, such as {self.wrong[:3]}"


def reference(message: int) -> dict[str, Any]:
    """The join of the message's events, those without an id included."""
    state: dict[str, Any] | None = None
    for each in life_of(message):
        state = advance(state, each.model_copy(update={"message_id": f"m-{message:08d}"}))
    assert state is not None
    return state


async def killed_while_folding(bootstrap: str, prefix: str, folder: Path, *, seed: int, deaths: int) -> Deaths:
    """Each message's events, some twice, in the seed's order; the process dies `deaths` times among them."""
    settings = await isolated(Settings, bootstrap, prefix, folder)
    chance = random.Random(seed)
    events = [each for message in range(MESSAGES) for each in life_of(message)]
    events += chance.sample(events, len(events) // 4)
    chance.shuffle(events)
    parts = deaths + 1
    for number in range(parts):
        await feed(settings, events[number * len(events) // parts : (number + 1) * len(events) // parts])
        async with service_process("message-state", settings, ENVIRONMENT, folder / "message-state.log") as process:
            if number == deaths:
                await eventually(lambda: _complete(settings), timeout_seconds=90, every=1.0)
                continue
            already = sum(state.version for state in (await states(settings)).values())
            wanted = already + chance.randint(1, max(1, len(events) // parts // 3))

            async def under_way(wanted: int = wanted) -> bool:
                return sum(state.version for state in (await states(settings)).values()) >= wanted

            await eventually(under_way, timeout_seconds=60)
            process.kill()
            assert await process.wait() == -9
    found = await states(settings)
    return Deaths(seed, deaths, len(events), tuple(_wrong(found)))


async def _complete(settings: Settings) -> bool:
    found = await states(settings)
    return len(found) == MESSAGES and all(len(state.first_seen) == 9 for state in found.values())


def _wrong(found: dict[str, MessageState]) -> list[str]:
    wrong = [name for name in found if int(name.removeprefix("m-")) >= MESSAGES]
    for message in range(MESSAGES):
        state = found.get(f"m-{message:08d}")
        if state is None or state != MessageState.model_validate(reference(message) | {"version": state.version}):
            wrong.append(f"m-{message:08d}")
    return wrong
