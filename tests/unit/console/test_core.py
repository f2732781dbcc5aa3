"""Records to rows, without a database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.console.core import (
    DEAD_LETTERS,
    MESSAGES,
    QUEUES,
    TABLES,
    TOPICS,
    Placed,
    Record,
    newest,
    percent,
    place,
    sum_counts,
    views_of,
)
from harkara.console.store import migrations
from harkara.contracts.envelope import Headers, encode
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.numbers import QueueState
from harkara.contracts.runs import RunCounts
from harkara.contracts.topics import MESSAGE_LIFECYCLE, MESSAGE_STATE, QUEUE_STATE, SEND_INTENTS, Topic

PEPPER = b"a-pepper-for-tests"
AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)


def record(topic: Topic, value: bytes | None, key: bytes = b"k", headers: Headers | None = None) -> Record:
    return Record(topic, 1, 7, key, value, headers or [], AT)


def state(version: int = 1, status: str = "received") -> MessageState:
    event = MessageLifecycle.model_validate(
        {"message_id": "m-12345678", "home": "h", "status": status, "at": AT, "run_id": "r-1", "person_key": "p"}
    )
    return MessageState.model_validate(advance(None, event)).model_copy(update={"version": version})


def test_a_state_becomes_a_row_with_its_facts_as_columns() -> None:
    placed = place(record(MESSAGE_STATE, state().model_dump_json().encode()), PEPPER)
    assert placed is not None
    assert placed.table is MESSAGES
    assert placed.row["run_id"] == "r-1"
    assert set(MESSAGES.columns) <= placed.row.keys()


def test_an_event_is_known_by_its_source_and_id() -> None:
    event = MessageLifecycle(message_id="m-12345678", home="h", status="sent", at=AT)
    value, headers = encode(event, event_id="e1", source="dispatcher", time=AT)
    placed = place(record(MESSAGE_LIFECYCLE, value, headers=headers), PEPPER)
    assert placed is not None
    assert (placed.row["source"], placed.row["event_id"]) == ("dispatcher", "e1")


@pytest.mark.parametrize(
    ("table", "row", "views"),
    [
        ("messages", {"message_id": "m-1", "wamid": "w"}, {"message:m-1", "message:w"}),
        ("message_events", {"message_id": "m-1", "wamid": None}, {"message:m-1"}),
        ("message_events", {"message_id": None, "wamid": "w"}, {"message:w"}),
        ("runs", {"run_id": "r-1"}, {"run:r-1", "overview"}),
        ("run_progress", {"run_id": "r-1"}, {"run:r-1", "overview"}),
        ("sla_events", {"run_id": "r-1"}, {"run:r-1", "overview"}),
        ("audit", {"subject": "r-1"}, {"run:r-1", "message:r-1", "overview"}),
        ("numbers", {}, {"overview"}),
        ("queues", {}, {"overview"}),
        ("dead_letters", {}, {"overview"}),
        ("number_events", {}, set[str]()),
    ],
)
def test_each_row_names_the_views_that_show_it(table: str, row: dict[str, str | None], views: set[str]) -> None:
    (found,) = [each for each in TABLES if each.name == table]
    assert views_of([Placed(found, row, record(MESSAGE_STATE, None))] * 2) == views


@pytest.mark.parametrize("key", [b"wamid:wamid.X", b'"wamid:wamid.X"'])
def test_tombstones_and_statuses_that_wait_for_their_message_are_no_rows(key: bytes) -> None:
    assert place(record(MESSAGE_STATE, None), PEPPER) is None
    assert place(record(MESSAGE_STATE, b'{"waiting": []}', key=key), PEPPER) is None


def test_what_cannot_be_read_becomes_a_dead_letter_of_the_console_without_its_values() -> None:
    secret = b'{"message_id": "+919999912345", "status": 5}'
    placed = place(record(MESSAGE_STATE, secret, key=b"+919999912345"), PEPPER)
    assert placed is not None
    assert placed.table is DEAD_LETTERS
    assert placed.unreadable
    assert placed.row["loop"] == "console"
    assert "919999912345" not in repr(placed.row)


def test_a_dead_letter_keeps_position_reason_and_the_hash_of_its_key() -> None:
    headers = [("dlq-reason", b"to: bad \xff"), ("dlq-loop", b"guard"), ("dlq-source", b"send-intents-3-9")]
    letter = record(SEND_INTENTS.dlq, b"\x00 +919999912345", key=b"+919999912345", headers=headers)
    placed = place(letter, PEPPER)
    assert placed is not None
    assert not placed.unreadable
    row = placed.row
    assert (row["topic"], row["partition"], row["offset"]) == ("send-intents-dlq", 1, 7)
    assert (row["loop"], row["origin"], row["reason"]) == ("guard", "send-intents-3-9", "to: bad \ufffd")
    assert len(row["key_hash"]) == 16
    assert "919999912345" not in repr(row)


@given(st.permutations([1, 2, 3, 4]), st.integers(0, 3))
def test_of_several_states_of_a_message_the_newest_is_written(order: list[int], repeated: int) -> None:
    versions = [*order, order[repeated]]
    rows = [place(record(MESSAGE_STATE, state(v).model_dump_json().encode()), PEPPER) for v in versions]
    (row,) = newest([each for each in rows if each])[MESSAGES]
    assert row["version"] == 4


def test_times_compare_as_instants_whatever_their_zone_and_precision() -> None:
    queue = QueueState(
        phone_number_id="1", home="h", queued=1, scheduled=0, held=0, in_flight=0, in_doubt=0, sent_last_minute=0,
        sent_today=0, updated_at=datetime.fromisoformat("2026-11-20T06:00:00+05:30"),
    )  # fmt: skip
    later = queue.model_copy(update={"queued": 2, "updated_at": AT + timedelta(microseconds=1)})
    rows = [place(record(QUEUE_STATE, each.model_dump_json().encode()), PEPPER) for each in (later, queue)]
    (row,) = newest([each for each in rows if each])[QUEUES]
    assert row["queued"] == 2


def test_rows_are_in_the_order_of_their_keys_so_that_writers_never_wait_crosswise() -> None:
    rows = [Placed(DEAD_LETTERS, {"topic": t, "partition": 0, "offset": 1}, record(SEND_INTENTS, b"")) for t in "cab"]
    assert [row["topic"] for row in newest(rows)[DEAD_LETTERS]] == ["a", "b", "c"]


def test_counts_of_partitions_add_up() -> None:
    part = RunCounts(by_status={"read": 2, "failed": 1}, by_reason={"x": 1}, delivered=2, on_time=1, ended=3)
    total = sum_counts([part, part.model_copy(update={"by_status": {"read": 1}})])
    assert (total.by_status, total.by_reason, total.delivered) == ({"read": 3, "failed": 1}, {"x": 2}, 4)


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(0, 0, 0.0), (999, 1000, 99.9), (9999, 10000, 99.9), (5, 5, 100.0)]
)
def test_a_percentage_never_rounds_up_to_all(part: int, whole: int, shown: float) -> None:
    assert percent(part, whole) == shown


def test_every_table_and_column_is_in_the_migrations() -> None:
    text = "\n".join(sql for _, _, sql in migrations())
    for table in TABLES:
        start = text.index(f"CREATE TABLE {table.name} (")
        body = text[start : text.index("\n);", start)]
        for later in re.findall(rf"ALTER TABLE {table.name}\n(.+?);", text, re.DOTALL):
            body += "\n" + later.replace("ADD COLUMN ", "")
        for column in table.columns:
            assert re.search(rf'\n    "?{column}"? ', body), f"{table.name}.{column}"


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [version for version, _, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_the_few_and_telling_are_read_before_the_many() -> None:
    names = [topic.name for topic in TOPICS]
    assert names.index("number-state") < names.index("message-state") < names.index("message-lifecycle")
