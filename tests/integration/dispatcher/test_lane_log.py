"""A lane's journal on a real broker: read to its end, and known how far its events have been written."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from harkara.contracts.topics import DISPATCH_JOURNAL
from harkara.dispatcher.journal import EMITTED, Entry
from harkara.dispatcher.lane_log import LINGER_MS, MARK_WITHIN_RECORDS, Broken, Fenced, LaneLog
from harkara.dispatcher.settings import Settings
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics
from tests.support.wait import eventually

AT = 1_800_000_000.0
HEARD_WITHIN_SECONDS = 0.3  # of the broker; where it takes longer, less is seen and nothing fails


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    kafka = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    await ensure_topics(ServiceSettings(service="tests", kafka=kafka, partitions=1, replication_factor=1))
    made = Settings(kafka=kafka, partitions=1, replication_factor=1, instance="dispatcher-0")

    def has_a_leader() -> bool:
        """A topic exists a little before its leader answers; the dispatcher takes such a lane anew."""
        try:
            return list(LaneLog(made, 0).read()) == []
        except Broken:
            return False

    await eventually(has_a_leader)
    return made


@pytest.fixture
def log(settings: Settings) -> Iterator[LaneLog]:
    made = LaneLog(settings, 0)
    made.open()
    yield made
    made.close()


def step(seq: int) -> Entry:
    return Entry(f"message-{seq}/s", seq, "step", AT, "pool-a", {"status": "queued", "attempt": 0})


def mark(seq: int, emitted: int) -> Entry:
    return Entry(EMITTED, seq, "emitted", AT, "lane-0", {"seq": emitted})


def test_what_was_committed_is_read_back_and_the_newest_mark_is_found(log: LaneLog) -> None:
    assert (log.emitted(), list(log.read())) == (0, [])
    rounds = [[step(1), step(2)], [step(3), mark(4, 2)], [step(5), mark(6, 4), step(7)]]
    for entries in rounds:
        log.commit(entries, [], None)
    assert log.emitted() == 4
    assert list(log.read()) == [entry for entries in rounds for entry in entries]


def test_a_mark_that_lies_far_back_is_not_looked_for(log: LaneLog) -> None:
    """Everything read is then kept until its mark comes by: more memory, the same events."""
    log.commit([mark(1, 1)], [], None)
    log.commit([step(seq) for seq in range(2, MARK_WITHIN_RECORDS + 10)], [], None)
    assert log.emitted() == 0
    assert sum(entry.kind == "step" for entry in log.read()) == MARK_WITHIN_RECORDS + 8


def test_a_new_owner_fences_the_old_one_and_reads_only_what_was_committed(log: LaneLog, settings: Settings) -> None:
    log.commit([step(1)], [], None)
    heir = LaneLog(settings, 0)
    heir.open()
    with pytest.raises(Fenced):
        log.commit([step(2)], [], None)
    assert [entry.seq for entry in heir.read()] == [1]
    heir.close()


class Slow(tuple[Entry, ...]):
    """Entries of which the second comes when librdkafka has long heard whether it may write the first."""

    def meanwhile(self) -> None:
        """What is to be looked at then."""

    def __iter__(self) -> Iterator[Entry]:
        first, *others = super().__iter__()
        yield first
        time.sleep(HEARD_WITHIN_SECONDS)
        self.meanwhile()
        yield from others


def test_who_is_fenced_in_the_middle_of_a_commit_is_fenced_and_not_just_broken(
    log: LaneLog, settings: Settings
) -> None:
    """Else the lane would be taken back from its new owner at once, and from us again."""
    log.commit([step(1)], [], None)
    heir = LaneLog(settings, 0)
    heir.open()
    with pytest.raises(Fenced, match="_FENCED"):
        log.commit(Slow([step(2), step(3)]), [], None)
    assert [entry.seq for entry in heir.read()] == [1]
    heir.close()


def test_a_commits_entries_leave_together_however_slowly_they_are_handed_over(log: LaneLog, settings: Settings) -> None:
    """Those that left alone would be waited for by a thread that never sleeps."""
    log.commit([step(1)], [], None)
    before, meanwhile = _end(settings), list[int]()

    class Looking(Slow):
        def meanwhile(self) -> None:
            meanwhile.append(_end(settings))

    began = time.monotonic()
    log.commit(Looking([step(2), step(3)]), [], None)
    seconds = time.monotonic() - began
    assert meanwhile == [before]
    assert seconds < HEARD_WITHIN_SECONDS + LINGER_MS / 2000, "the commit waits for no linger"
    assert [entry.seq for entry in log.read()] == [1, 2, 3]


def _end(settings: Settings) -> int:
    """Of the journal, with what is not committed."""
    options = {"group.id": "tests", "isolation.level": "read_uncommitted", "log_level": 3}
    consumer = Consumer(settings.kafka.librdkafka_options() | options)
    topic = TopicPartition(settings.kafka.topic(DISPATCH_JOURNAL), 0)
    end: int = consumer.get_watermark_offsets(topic, timeout=10.0)[1]
    consumer.close()
    return end
