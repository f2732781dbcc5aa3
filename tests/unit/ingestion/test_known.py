"""What is known stands while its topics are read anew from the beginning, as after an outage of Kafka's."""

from __future__ import annotations

from datetime import timedelta

from harkara.contracts.numbers import QueueState
from harkara.contracts.topics import QUEUE_STATE
from harkara.ingestion.known import Known
from tests.unit.ingestion.conftest import LONE, NOW


def queue(second: int) -> QueueState:
    return QueueState(
        phone_number_id=LONE, home=LONE, queued=second, scheduled=0, held=0, in_flight=0, in_doubt=0,
        sent_last_minute=0, sent_today=0, updated_at=NOW + timedelta(seconds=second),
    )  # fmt: skip


def test_an_older_report_of_a_queue_does_not_replace_a_newer_one() -> None:
    known = Known()
    for second in (1, 2, 3, 1, 2):
        known.apply(QUEUE_STATE, LONE, queue(second))
    assert known.queues[LONE].queued == 3
