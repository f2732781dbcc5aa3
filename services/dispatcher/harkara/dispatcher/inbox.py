"""A lane's intake: records wait here by topic, urgent orders are taken first, offsets move with what was taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson
from confluent_kafka import Message as Record
from confluent_kafka import TopicPartition

from harkara.contracts.commands import SendCommand
from harkara.contracts.envelope import Headers, Undecodable, decode_event
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.lifecycle import EFFECT_RANK, REACHED
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import (
    DISPATCH_ORDERS,
    DISPATCH_ORDERS_URGENT,
    INBOUND_MESSAGES,
    MESSAGE_LIFECYCLE,
    SEND_COMMANDS,
    Topic,
)
from harkara.dispatcher.emitter import Quarantined
from harkara.dispatcher.orders import seconds
from harkara.runtime.settings import KafkaSettings

INPUTS: tuple[Topic, ...] = (DISPATCH_ORDERS_URGENT, SEND_COMMANDS, MESSAGE_LIFECYCLE, DISPATCH_ORDERS)
"""In the order in which a round takes them: urgent, cancels, evidence, then the bulk."""
HEARD: tuple[Topic, ...] = (INBOUND_MESSAGES,)
"""Read from their end, and never committed (`inbound.py`)."""
TAKEN_PER_ROUND = 500
PAUSE_ABOVE = 2000  # records of one topic that wait here: four rounds; more only moves Kafka's log into memory
RESUME_BELOW = 500


class OrderArrived(NamedTuple):
    """A valid DispatchOrder as JSON."""

    order: dict[str, Any]
    trace: str | None


class CommandArrived(NamedTuple):
    """A valid SendCommand."""

    command: SendCommand


class EchoArrived(NamedTuple):
    """A status of Meta that names one of our attempts. `at` in Unix seconds; `failed_code`: Meta's code where the
    status is `failed` (0: none), else None; `reached`: it says that the person has it; `person_key`: who they are, by
    Meta's name of their phone."""

    message_id: str
    attempt: int
    wamid: str | None
    number: str | None
    at: float
    failed_code: int | None = None
    reached: bool = False
    person_key: str | None = None


Arrival: TypeAlias = OrderArrived | CommandArrived | EchoArrived


@dataclass
class Inbox:
    """One lane's waiting records. `next_offsets`: per topic, the offset after the newest one taken.
    `unread`: the offset up to which statuses lay there when the lane was taken."""

    kafka: KafkaSettings
    partition: int
    partitions: int
    waiting: dict[str, deque[Record]] = field(init=False)
    next_offsets: dict[str, int] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    unread: int = 0

    def __post_init__(self) -> None:
        self._topics = {self.kafka.topic(topic): topic for topic in INPUTS}
        self.waiting = {name: deque() for name in self._topics}

    def __len__(self) -> int:
        return sum(map(len, self.waiting.values()))

    def put(self, records: Iterable[Record]) -> None:
        """Records of this lane, in the order of their offsets."""
        for record in records:
            self.waiting[record.topic() or ""].append(record)

    def clear(self) -> None:
        """Forget everything (the lane is taken anew)."""
        for queue in self.waiting.values():
            queue.clear()
        self.next_offsets.clear()
        self.quarantined.clear()
        self.paused.clear()

    def take(self) -> Iterator[Arrival]:
        """A round's records, decoded; what cannot be is put into `quarantined`, to be written before the commit."""
        for name, queue in self.waiting.items():
            for _ in range(min(len(queue), TAKEN_PER_ROUND)):
                record = queue.popleft()
                self.next_offsets[name] = (record.offset() or 0) + 1
                arrival = self._decoded(self._topics[name], record)
                if arrival is not None:
                    yield arrival

    def reads_old(self) -> bool:
        """Whether statuses were taken lately that lay there when the lane was taken, and more of those wait."""
        return self.next_offsets.get(self.kafka.topic(MESSAGE_LIFECYCLE), self.unread) < self.unread

    def offsets(self) -> list[TopicPartition]:
        """What a commit says of the records taken so far."""
        return [TopicPartition(name, self.partition, offset) for name, offset in self.next_offsets.items()]

    def fill(self) -> set[str]:
        """Topics whose fetching must wait, to be asked after each `put`."""
        full = {name for name, queue in self.waiting.items() if len(queue) > PAUSE_ABOVE}
        self.paused |= full
        return full

    def emptied(self) -> set[str]:
        """Topics that waited and may be fetched again."""
        roomy = {name for name in self.paused if len(self.waiting[name]) < RESUME_BELOW}
        self.paused -= roomy
        return roomy

    def _decoded(self, topic: Topic, record: Record) -> Arrival | None:
        if topic is MESSAGE_LIFECYCLE:
            return None if _is_of_a_lane(record) else _echo(record.value())
        about: dict[str, Any] = dict(reversed(_pairs(record)))  # of a name that is there twice the first counts
        try:
            event = decode_event(topic.events, record.value(), _text(about, "ce_type"))
            if isinstance(event, DispatchOrder):
                return self._order(event, _text(about, "traceparent"))
            if isinstance(event, SendCommand):
                return CommandArrived(event)
        except Undecodable as error:
            key, headers = record.key(), _headers(record)
            self.quarantined.append(Quarantined(topic, self.partition, key, record.value(), headers, str(error)))
        return None

    def _order(self, order: DispatchOrder, trace: str | None) -> OrderArrived:
        if partition_for(order.home, self.partitions) != self.partition:
            raise Undecodable(f"home {order.home} belongs to another partition: another lane would send it too")
        plain = order.__pydantic_serializer__.to_python(order, mode="json", exclude_none=True)
        return OrderArrived(plain, trace)


def _is_of_a_lane(record: Record) -> bool:
    """Most of what comes back on the lifecycle is what the lanes wrote themselves: looked at no further than needed."""
    return ("ce_source", b"dispatcher") in _pairs(record)


def _headers(record: Record) -> Headers:
    return [(name, value.encode() if isinstance(value, str) else value or b"") for name, value in _pairs(record)]


def _text(about: dict[str, Any], name: str) -> str | None:
    """Of a header without a value: empty."""
    if name not in about:
        return None
    value = about[name] or b""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _pairs(record: Record) -> Sequence[tuple[str, Any]]:
    found = record.headers() or []
    return list(found.items()) if isinstance(found, dict) else found


def _echo(value: bytes | None) -> EchoArrived | None:
    """Statuses of phase 3 with our message id; everything else on the topic is not for lanes. Parsed without a model:
    this is read at several times the rate of sending, and message-state quarantines what is malformed."""
    try:
        event = orjson.loads(value or b"")
        if event["status"] not in EFFECT_RANK or event.get("message_id") is None:
            return None
        return EchoArrived(
            _said(event, "message_id"),
            _counted(event["attempt"]),
            _said(event, "wamid"),
            _said(event, "phone_number_id"),
            seconds(event["at"]),
            int(event.get("error_code") or 0) if event["status"] == "failed" else None,
            event["status"] in REACHED,
            _said(event, "reached_key"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _said(event: dict[str, Any], name: str) -> Any:
    """A text, or None where there is none. Raises TypeError for anything else."""
    found = event.get(name)
    if found is not None and not isinstance(found, str):
        raise TypeError(name)
    return found


def _counted(found: Any) -> int:
    """An attempt's number. Raises TypeError for what is none."""
    if not isinstance(found, int) or found < 0:
        raise TypeError("attempt")
    return found
