"""How examples are replayed through a consumer without a broker: decisions, folds, replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from harkara.contracts.envelope import decode, encode
from harkara.contracts.event import Event
from harkara.contracts.topics import Topic
from harkara.policy.governance import load
from harkara.runtime.kafka import Output, RawOutput
from harkara.runtime.loop import Incoming, Refused
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.examples import WRITTEN_AT, Example

GOVERNANCE = load(Path(__file__).resolve().parents[2] / "examples" / "governance.yaml")
NOW = WRITTEN_AT + timedelta(seconds=10)
PARTITIONS = 1  # every home in one lane, so that one lane takes every order
SETTINGS = ServiceSettings(kafka=KafkaSettings(), partitions=PARTITIONS)


class Consumer(Protocol):
    """A consumer without its broker."""

    def take(self, example: Example) -> None:
        """One record. Raises what its loop would have to handle."""
        ...

    def seen(self) -> object:
        """What came of all records so far."""
        ...


def incoming(example: Example) -> Incoming:
    """The example as a loop or a fold hands it over."""
    return Incoming(
        topic=example.topic,
        partition=example.partition(PARTITIONS),
        offset=example.offset,
        key=example.key.encode(),
        value=example.raw,
        headers=example.headers,
        timestamp=example.timestamp,
        envelope=example.decoded(),
    )


@dataclass
class Hop:
    """A decision: what it writes for each record, or the reason why it quarantines it. All written is checked."""

    decide: Callable[[Incoming], Iterable[Output | RawOutput]]
    results: dict[str, object] = field(default_factory=dict)

    def take(self, example: Example) -> None:
        try:
            outputs = [output for output in self.decide(incoming(example)) if isinstance(output, Output)]
        except Refused as refused:
            self.results[example.name] = f"refused: {refused}"
            return
        for output in outputs:
            check_written(output.topic, output.event, output.id, output.time)
        self.results[example.name] = outputs

    def seen(self) -> object:
        return self.results


def check_written(topic: Topic, event: Event | None, identity: str, time: datetime) -> None:
    """What a consumer writes in turn is an event of its topic and comes back equal."""
    assert event is not None
    value, headers = encode(event, event_id=identity, source="replay", time=time)
    assert decode(topic.events, value, headers, fallback_id="none").event == event


@dataclass
class Fold:
    """A state that every record is joined into."""

    apply: Callable[[Example, Event], None]
    snapshot: Callable[[], object]

    def take(self, example: Example) -> None:
        self.apply(example, example.decoded().event)

    def seen(self) -> object:
        return self.snapshot()


def replica(learn: Callable[[str, Event], None], snapshot: Callable[[], object]) -> Fold:
    """A compacted topic held in memory."""
    return Fold(lambda example, event: learn(example.key, event), snapshot)
