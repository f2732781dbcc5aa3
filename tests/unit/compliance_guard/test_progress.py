"""When what people said is known to be in the replica: read, projected, and what was projected read back."""

from __future__ import annotations

from aiokafka import TopicPartition

from harkara.compliance_guard.progress import FRESH_SECONDS, MOST_ENDS, Progress
from harkara.contracts.topics import CONSENT_EVENTS
from harkara.runtime.clock import ManualClock
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.unit.policy.cases import NOW

FIRST, SECOND = TopicPartition("consent-events", 0), TopicPartition("consent-events", 1)
SETTINGS = ServiceSettings(service="test", kafka=KafkaSettings(), partitions=2)


class Rig:
    """Progress with a clock and a replica that are moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.complete_at = float("-inf")
        self.progress = Progress(
            SETTINGS, {"a-group": CONSENT_EVENTS}, lambda: self.clock.monotonic() - self.complete_at, self.clock
        )

    def look(self, ends: tuple[int, int], committed: tuple[int, int]) -> None:
        first, second = ends
        reached = dict(zip((FIRST, SECOND), committed, strict=True))
        self.progress.note(self.clock.monotonic(), {FIRST: first, SECOND: second}, reached)

    def replica_is_read(self) -> None:
        self.complete_at = self.clock.monotonic()


def test_nothing_is_known_before_the_first_look_and_an_empty_topic_is_read() -> None:
    rig = Rig()
    assert not rig.progress.fresh() and rig.progress.ready() is not None
    rig.look((0, 0), (0, 0))
    assert not rig.progress.fresh(), "the replica was not read after it"
    rig.replica_is_read()
    assert rig.progress.fresh() and rig.progress.ready() is None


def test_what_is_not_committed_is_not_known_however_fresh_the_replica() -> None:
    rig = Rig()
    rig.look((5, 7), (5, 6))
    for _ in range(8):
        rig.clock.advance(0.5)
        rig.replica_is_read()
        assert not rig.progress.fresh()
        rig.look((9, 9), (5, 6))
    rig.clock.advance(0.1)
    rig.look((9, 9), (9, 9))
    assert not rig.progress.fresh()
    rig.clock.advance(0.1)
    rig.replica_is_read()
    assert rig.progress.fresh()


def test_a_replica_that_was_read_before_the_commit_may_lack_what_was_projected_by_then() -> None:
    rig = Rig()
    rig.look((3, 3), (3, 3))
    rig.replica_is_read()
    rig.clock.advance(FRESH_SECONDS + 0.1)
    rig.replica_is_read()
    rig.clock.advance(0.1)
    rig.look((4, 3), (4, 3))
    assert not rig.progress.fresh()
    rig.clock.advance(0.1)
    rig.replica_is_read()
    assert rig.progress.fresh() and rig.progress.behind_seconds() < 0.11


def test_while_people_keep_writing_the_newest_end_that_was_reached_counts() -> None:
    """Never is everything read, and still it is known up to when all had been."""
    rig = Rig()
    for step in range(2 * MOST_ENDS):
        rig.look((step, step), (max(0, step - 5), max(0, step - 5)))  # the commits are 1 s behind
        rig.clock.advance(0.2)
        if step % 3 == 0:
            rig.replica_is_read()
        if step > 10:
            assert rig.progress.fresh(), step
    rig.clock.advance(FRESH_SECONDS)
    assert not rig.progress.fresh() and rig.progress.ready() is None
    rig.clock.advance(10)
    assert "13 s" in (rig.progress.ready() or "") or "14 s" in (rig.progress.ready() or "")
