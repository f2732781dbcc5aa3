"""Lanes that go while the process is busy with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from harkara.dispatcher.core import template_changed
from harkara.dispatcher.dispatcher import Dispatcher
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.lane import Lane
from harkara.dispatcher.lane_log import Broken
from harkara.dispatcher.orders import message_of
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.state import LaneState
from harkara.policy.governance import load
from harkara.runtime.settings import KafkaSettings
from tests.unit.dispatcher.lanes import order


class _Shown:
    """A lane that has something to show, and is left."""

    def __init__(self) -> None:
        self.shown = self.abandoned = 0

    def queue_states(self, *_: object) -> list[Emission]:
        self.shown += 1
        return cast("list[Emission]", ["a queue state"])

    def abandon(self) -> None:
        self.abandoned += 1


class _Losing:
    """An emitter during whose write the session is lost, as when a process wakes up after a long freeze."""

    dispatcher: Dispatcher

    async def write(self, _: Sequence[Emission]) -> None:
        await self.dispatcher.lost()


GOVERNANCE = """
numbers:
  - phone_number_id: "100000000000011"
    display_phone_number: "+919999900001"
    waba_id: "200000000000011"
    portfolio_id: "300000000000001"
    token_env: TOKEN
compliance: {consent_mode: opt_out}
"""


class _Breaking:
    """A lane whose last commit fails while it leaves."""

    partition, leaving = 1, True

    def __init__(self) -> None:
        self.told: list[str] = []
        self.state = LaneState()

    async def take(self) -> dict[str, int]:
        self.told.append("take")
        return {}

    async def work(self) -> None:
        raise Broken("_TRANSPORT")

    def close(self) -> None:
        self.told.append("close")

    def abandon(self) -> None:
        self.told.append("abandon")


@contextmanager
def a_dispatcher(kafka: KafkaSettings, folder: Path, emitter: object) -> Iterator[Dispatcher]:
    (folder / "governance.yaml").write_text(GOVERNANCE, "utf-8")
    settings = Settings(kafka=kafka, governance_file=folder / "governance.yaml")
    made = Dispatcher(settings, load(settings.governance_file), cast(Emitter, emitter))
    try:
        yield made
    finally:
        made._membership.consumer.close()
        made._membership.offsets.close()


async def test_lanes_lost_while_a_queue_state_is_written_do_not_end_the_process(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    emitter, lanes = _Losing(), [_Shown(), _Shown()]
    with a_dispatcher(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path, emitter) as made:
        emitter.dispatcher = made
        made._lanes = cast("dict[int, Lane]", dict(enumerate(lanes)))
        made._taken = {0, 1}
        await made._show_queues(0)
        assert [each.shown for each in lanes] == [1, 0]
        assert [each.abandoned for each in lanes] == [1, 1]


async def test_a_lane_that_breaks_while_it_leaves_is_not_taken_again(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    lane = _Breaking()
    with a_dispatcher(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path, None) as made:
        made._lanes = cast("dict[int, Lane]", {1: lane})
        await asyncio.wait_for(made._work(cast(Lane, lane), fresh=True), 5)
        assert lane.told == ["take", "close", "abandon"]
        assert not made._lanes and not made._taken


async def test_a_lane_that_is_being_recovered_is_not_touched_when_somebody_says_no(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Its state is built in a thread meanwhile; its first round looks at everything that waits."""

    class _Untouchable:
        @property
        def state(self) -> object:
            raise AssertionError("a thread is building this")

    taken = Lane.__new__(Lane)
    taken.state, taken._awake = LaneState(), asyncio.Event()
    taken.state.recipients.add(message_of(order("message-1"), 1, None))
    with a_dispatcher(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path, None) as made:
        made._lanes = cast("dict[int, Lane]", {0: _Untouchable(), 1: taken})
        made._taken = {1}
        made._denied("person of message-1")
        assert taken._awake.is_set() and len(taken.state.unplaced) == 1


class _Left:
    """A lane that was left a moment ago: it keeps its state, and may be given back."""

    def __init__(self) -> None:
        self.told: list[tuple[object, str]] = []

    def changed(self, take: object, name: str) -> None:
        self.told.append((take, name))


async def test_a_lane_that_was_left_hears_of_templates_as_of_numbers(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    lane, other = _Left(), _Left()
    with a_dispatcher(KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix), tmp_path, None) as made:
        home = made._facts["100000000000011"].partition
        made._lanes = cast("dict[int, Lane]", {home: lane, home + 1: other})
        made._template_changed("200000000000011/daily_update:en")
        made._template_changed("200000000000099/daily_update:en")
        assert lane.told == [(template_changed, "200000000000011/daily_update:en")] and not other.told
