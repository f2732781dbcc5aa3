"""When nothing is heard of a message: not while what Meta has told us waits for our own normaliser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE, WEBHOOK_EVENTS
from harkara.ingestion.app import NORMALISER as INGESTIONS
from harkara.message_state.reconciler import NORMALISER, PATIENCE_SECONDS, Numbers, Reconciler
from harkara.message_state.settings import Settings
from harkara.message_state.watch import Watch
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output
from tests.unit.message_state.test_silence import AT, MINUTE, NUMBER, OTHER, event, state_of, watching

WEBHOOKS, STEPS = TopicPartition(WEBHOOK_EVENTS.name, 0), TopicPartition(MESSAGE_LIFECYCLE.name, 0)


@dataclass
class Broker:
    """Where the topics end, and how far both groups are; `fails`: it cannot be asked; `fails_once`: not now."""

    end: dict[TopicPartition, int] = field(default_factory=lambda: {WEBHOOKS: 0, STEPS: 0})
    read: dict[TopicPartition, int] = field(default_factory=lambda: {WEBHOOKS: 0, STEPS: 0})
    fails: bool = False
    fails_once: bool = False

    async def ends(self) -> dict[TopicPartition, int]:
        fails, self.fails_once = self.fails or self.fails_once, False
        if fails:
            raise KafkaConnectionError("away")
        return dict(self.end)

    async def has_read(self, ends: dict[TopicPartition, int]) -> bool:
        return all(self.read[each] >= end for each, end in ends.items())


@dataclass
class Held:
    watch: Watch
    states: dict[str, Any]
    owned: frozenset[int] = frozenset({0})

    def state(self, partition: int, message_id: str) -> Any:
        return self.states[message_id]


class Fresh:
    def fresh(self) -> bool:
        return True


@dataclass
class Rig:
    """A reconciler that looks when told, twenty minutes after a message was accepted of which nothing was heard."""

    broker: Broker = field(default_factory=Broker)
    clock: ManualClock = field(default_factory=lambda: ManualClock(AT + 20 * MINUTE))
    written: list[MessageLifecycle] = field(default_factory=list)

    def __post_init__(self) -> None:
        lost = state_of(event("submitted"))
        self.held = Held(watching(lost), {"m-00000001": lost})
        replica: Any = Fresh()
        self.reconciler = Reconciler(Settings(), self.clock, "message-state", Numbers(), replica, lambda: self.held)

    async def write(self, outputs: list[Output]) -> None:
        self.written += [each.event for each in outputs if isinstance(each.event, MessageLifecycle)]

    async def look(self) -> list[str]:
        """What is said now, by cause."""
        writer: Any = self
        group: Any = self.broker
        before = len(self.written)
        await self.reconciler._look(writer, group)
        return [each.reason.code for each in self.written[before:] if each.reason is not None]

    @property
    def alarmed(self) -> bool:
        return bool(REGISTRY.get_sample_value("harkara_message_state_number_silent", {"phone_number_id": NUMBER}))


def test_the_group_is_ingestions() -> None:
    assert NORMALISER == INGESTIONS


@pytest.mark.req("B23")
async def test_with_everything_read_it_is_said_at_once() -> None:
    rig = Rig()
    assert await rig.look() == ["webhook_silence"]
    assert rig.alarmed


@pytest.mark.req("B23")
async def test_what_came_and_is_not_read_is_waited_for_and_its_status_ends_the_silence() -> None:
    rig = Rig()
    rig.broker.end[WEBHOOKS] = 5
    for _ in range(3):
        assert await rig.look() == []
        assert not rig.alarmed, "webhooks do arrive"
        rig.clock.advance(60)
    heard = state_of(event("submitted"), event("sent", 3))
    rig.held.watch.note(0, rig.held.states["m-00000001"], heard)
    rig.held.states["m-00000001"] = heard
    rig.broker.read[WEBHOOKS] = 5
    assert await rig.look() == []


async def test_once_it_is_read_newer_webhooks_are_not_waited_for() -> None:
    rig = Rig()
    rig.broker.end = {WEBHOOKS: 5, STEPS: 7}
    assert await rig.look() == []
    rig.broker.read[WEBHOOKS], rig.broker.end[WEBHOOKS] = 5, 9
    assert await rig.look() == [], "the steps that came of them are not folded"
    rig.broker.read[STEPS] = 7
    assert await rig.look() == ["webhook_silence"]


async def test_a_normaliser_that_stands_still_is_named_after_a_time() -> None:
    rig = Rig()
    rig.broker.end[WEBHOOKS] = 5
    assert await rig.look() == []
    rig.clock.advance(PATIENCE_SECONDS)
    assert await rig.look() == ["webhooks_unread"]
    assert rig.alarmed


async def test_a_broker_that_cannot_be_asked_says_nothing() -> None:
    rig = Rig()
    rig.broker.fails = True
    for _ in range(2):
        assert await rig.look() == []
        rig.clock.advance(PATIENCE_SECONDS)
    rig.broker.fails = False
    assert await rig.look() == ["webhook_silence"]


async def test_a_broker_that_does_not_answer_once_does_not_end_the_patience() -> None:
    """The question about the webhooks fails, the one about the steps is answered."""
    rig = Rig()
    rig.clock.advance(2 * PATIENCE_SECONDS)  # the process is older than that
    rig.broker.end[WEBHOOKS] = 5
    rig.broker.fails_once = True
    assert await rig.look() == []
    assert not rig.alarmed
    rig.broker.read[WEBHOOKS] = 5
    assert await rig.look() == ["webhook_silence"]


async def test_what_was_read_before_a_mark_was_due_is_not_enough_for_it() -> None:
    """The number is silent after ten minutes, its message after fifteen; between them more webhooks came."""
    rig = Rig(clock=ManualClock(AT + 12 * MINUTE))
    assert await rig.look() == []
    assert rig.alarmed
    rig.broker.end[WEBHOOKS] = 5
    rig.clock.advance(300)
    assert await rig.look() == []
    rig.broker.read[WEBHOOKS] = 5
    assert await rig.look() == ["webhook_silence"]


async def test_a_mark_of_another_message_that_falls_due_later_is_asked_about_anew() -> None:
    """What was read for the first one says nothing of what came until the second was due."""
    rig = Rig(clock=ManualClock(AT + 16 * MINUTE))
    other = state_of(event("submitted", 240, message_id="m-00000002", phone_number_id=OTHER))
    first, heard = rig.held.states["m-00000001"], state_of(event("submitted"), event("sent", 3))
    rig.held = Held(watching(first, other), {"m-00000001": first, "m-00000002": other})
    rig.broker.end[WEBHOOKS] = 5
    assert await rig.look() == []
    rig.held.watch.note(0, first, heard)
    rig.held.states["m-00000001"] = heard
    rig.broker.read[WEBHOOKS] = 5
    assert await rig.look() == []
    rig.broker.end[WEBHOOKS] = 9
    rig.clock.advance(240)
    assert await rig.look() == []
    rig.broker.read[WEBHOOKS] = 9
    assert await rig.look() == ["webhook_silence"]
