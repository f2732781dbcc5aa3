"""What the polling thread hands to the lanes, and from where it reads: beside a group that is rebalanced meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from harkara.contracts.topics import DISPATCH_ORDERS
from harkara.dispatcher.inbox import HEARD, INPUTS
from harkara.dispatcher.membership import Membership, NoLongerMember
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings

SETTINGS = Settings(instance="dispatcher-0", kafka=KafkaSettings(bootstrap="127.0.0.1:9"), _env_file=None)
ORDERS = SETTINGS.kafka.topic(DISPATCH_ORDERS)
TOPICS = [SETTINGS.kafka.topic(topic) for topic in (*INPUTS, *HEARD)]
OFFSETS = dict.fromkeys(TOPICS, 100)


def record(offset: int, partition: int = 0) -> Message:
    return Message(topic=ORDERS, partition=partition, offset=offset, value=b"{}")


@dataclass
class Group:
    """librdkafka's consumer as the thread sees it: a script of what each poll and each consume does."""

    polls: list[Callable[[], Message | None]] = field(default_factory=list)
    consumes: list[Callable[[], list[Message]]] = field(default_factory=list)
    assigned: list[dict[tuple[str, int], int]] = field(default_factory=list)
    paused: list[tuple[str, int]] = field(default_factory=list)  # as librdkafka's, it outlives every assignment
    at_the_end: Callable[[], None] = lambda: None

    def subscribe(self, _: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def rebalanced(self) -> None:
        """Lane 0 is taken away and given back."""
        lane = [TopicPartition(topic, 0) for topic in TOPICS]
        self.callbacks["on_revoke"](self, lane)
        self.callbacks["on_assign"](self, lane)

    def poll(self, _: float) -> Message | None:
        if not self.polls:
            self.at_the_end()
            return None
        return self.polls.pop(0)()

    def consume(self, _: int, timeout: float) -> list[Message]:
        assert timeout == 0, "what comes alone waits for nothing"
        return self.consumes.pop(0)() if self.consumes else []

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned.append({(each.topic, each.partition): each.offset for each in partitions})

    def unassign(self) -> None: ...
    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused = [each for each in self.paused if each not in {(of.topic, of.partition) for of in partitions}]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused += [(each.topic, each.partition) for each in partitions]

    def close(self) -> None: ...
    def consumer_group_metadata(self) -> object:
        return object()


@dataclass
class Lanes:
    """Who is told. `full`: the lanes that have no room for more orders; `broken`: those that cannot take any."""

    delivered: list[list[int]] = field(default_factory=list)
    full: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)

    async def assigned(self, _: set[int]) -> None: ...
    async def revoked(self) -> None: ...
    async def lost(self) -> None: ...
    def deliver(self, partition: int, records: list[Message]) -> set[str]:
        if partition in self.broken:
            raise ValueError("of the lane's own")
        self.delivered.append([each.offset() or 0 for each in records])
        return {ORDERS} if partition in self.full else set()


class Bench:
    """A membership on a scripted consumer."""

    def __init__(self) -> None:
        self.group, self.lanes = Group(), Lanes()
        self.membership = Membership(SETTINGS, self.lanes)
        self.membership.consumer.close()
        self.membership.consumer = cast("Consumer", self.group)
        self.group.at_the_end = self.membership.stop

    def run(self) -> None:
        asyncio.run(self.membership.run())


def test_what_was_fetched_before_a_rebalance_is_neither_delivered_nor_passed_over() -> None:
    bench = Bench()

    def taken_away() -> list[Message]:
        bench.group.rebalanced()
        bench.membership.fetch(0, OFFSETS | {ORDERS: 120})
        return [record(121)]

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [lambda: record(120), lambda: None]
    bench.group.consumes = [taken_away]
    bench.run()
    assert bench.lanes.delivered == []
    assert bench.group.assigned[-1][(ORDERS, 0)] == 120


def test_an_error_that_comes_with_a_rebalance_is_heard() -> None:
    bench = Bench()

    def ousted() -> Message | None:
        bench.group.rebalanced()
        return Message(topic=ORDERS, partition=0, error=KafkaError(KafkaError.FENCED_INSTANCE_ID))

    bench.group.polls = [ousted]
    with pytest.raises(NoLongerMember):
        bench.run()


def test_a_lane_that_was_left_and_taken_anew_between_two_looks_is_read_from_where_it_says() -> None:
    bench = Bench()

    def retaken() -> Message | None:
        bench.membership.forget(0)
        bench.membership.fetch(0, OFFSETS)
        bench.membership.fetch(1, OFFSETS)
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [lambda: record(130), retaken, lambda: None]
    bench.run()
    assert bench.lanes.delivered == [[130]]
    assert [assigned[(ORDERS, 0)] for assigned in bench.group.assigned] == [100, 100]


def test_what_was_fetched_before_a_lane_was_taken_anew_is_not_handed_to_it() -> None:
    """The polling thread got no processor meanwhile. Heard by the lane, it would pass for all that lies before it."""
    bench = Bench()

    def retaken() -> list[Message]:
        bench.membership.forget(0)
        bench.membership.fetch(0, OFFSETS | {ORDERS: 120})
        return [record(2501), record(300, 1)]

    bench.membership.fetch(0, OFFSETS)
    bench.membership.fetch(1, OFFSETS)
    bench.group.polls = [lambda: record(2500), lambda: record(120)]
    bench.group.consumes = [retaken]
    bench.run()
    assert bench.lanes.delivered == [[300], [120]]
    assert bench.group.assigned[-1][(ORDERS, 0)] == 120
    assert bench.group.assigned[-1][(ORDERS, 1)] == 301


def test_the_other_lanes_go_on_where_they_are() -> None:
    bench = Bench()

    def another() -> Message | None:
        bench.membership.fetch(1, OFFSETS)
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [lambda: record(130), another, lambda: None]
    bench.run()
    assert bench.group.assigned[-1] == {(each, 0): 100 for each in TOPICS} | {(each, 1): 100 for each in TOPICS} | {
        (ORDERS, 0): 131
    }


def test_of_a_lane_that_is_full_no_more_is_fetched() -> None:
    bench = Bench()
    bench.lanes.full = {1}
    bench.group.polls = [lambda: record(100, 0), lambda: record(200, 1), lambda: record(101, 0)]
    bench.run()
    assert bench.lanes.delivered == [[100], [200], [101]]
    assert bench.group.paused == [(ORDERS, 1)]


def full(bench: Bench, *lanes: int) -> Callable[[], Message | None]:
    """A poll after which these lanes have no room."""

    def found() -> Message | None:
        bench.lanes.full = set(lanes)
        bench.group.consumes = [lambda: [record(200, lane) for lane in lanes]]
        return record(100, 7)

    return found


def test_a_full_lane_that_is_taken_anew_is_read_again_while_another_still_waits() -> None:
    bench = Bench()

    def broken_and_retaken() -> Message | None:
        assert sorted(bench.group.paused) == [(ORDERS, 0), (ORDERS, 1)]
        bench.membership.forget(0)
        bench.membership.fetch(0, OFFSETS)
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.membership.fetch(1, OFFSETS)
    bench.group.polls = [full(bench, 0, 1), broken_and_retaken, lambda: None]
    bench.run()
    assert bench.group.paused == [(ORDERS, 1)]


def test_a_full_lane_that_was_forgotten_is_read_again_when_it_is_taken() -> None:
    """What it said of its room meanwhile was of the lane that is gone."""
    bench = Bench()

    def broken() -> Message | None:
        bench.membership.resume(ORDERS, 0)
        bench.membership.forget(0)
        return None

    def retaken() -> Message | None:
        bench.membership.fetch(0, OFFSETS)
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [full(bench, 0), broken, retaken, lambda: None]
    bench.run()
    assert bench.group.assigned[-1][(ORDERS, 0)] == 100
    assert bench.group.paused == []


@pytest.mark.parametrize("gone", ["on_revoke", "on_lost"])
def test_of_a_full_lane_that_the_group_moved_nothing_stays_paused(gone: str) -> None:
    bench = Bench()

    def moved() -> Message | None:
        lane = [TopicPartition(topic, 0) for topic in TOPICS]
        bench.group.callbacks[gone](bench.group, lane)
        assert bench.group.paused == []
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [full(bench, 0), moved, lambda: None]
    bench.run()
    assert bench.group.assigned[-1] == {(each, 0): 100 for each in TOPICS}, "until it was moved"


def test_a_lane_that_has_room_again_is_read_on() -> None:
    bench = Bench()

    def emptied() -> Message | None:
        assert bench.group.paused == [(ORDERS, 0)]
        bench.membership.resume(ORDERS, 0)
        return None

    bench.membership.fetch(0, OFFSETS)
    bench.group.polls = [full(bench, 0), emptied, lambda: None]
    bench.run()
    assert bench.group.paused == [] and len(bench.group.assigned) == 1


def test_a_lane_that_cannot_take_its_records_ends_the_polling() -> None:
    bench = Bench()
    bench.lanes.broken = {1}
    bench.group.polls = [lambda: record(100, 0), lambda: record(200, 1), lambda: record(101, 0)]
    with pytest.raises(ValueError, match="of the lane's own"):
        bench.run()
    assert bench.lanes.delivered == [[100]]
