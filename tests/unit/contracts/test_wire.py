"""The wire: envelopes, ids, partitions, intents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harkara.contracts.audit import AuditRecord
from harkara.contracts.envelope import Undecodable, decode, encode
from harkara.contracts.event import EARLIEST, LATEST, event_id, plausible
from harkara.contracts.identity import derived_message_id, derived_run_id, message_traceparent, person_key
from harkara.contracts.intents import LATEST_START, LONGEST_LIFE, SendIntent, Text
from harkara.contracts.numbers import NumberCommand
from harkara.contracts.partition import murmur2, partition_for
from harkara.contracts.topics import BY_NAME, QUARANTINED, STREAMS, TOPICS

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
INTENT = {
    "message_id": "order-0001",
    "sender": "100000000000001",
    "to": "+919999912345",
    "category": "utility",
    "content": {"type": "text", "body": "नमस्ते"},
}


def audit() -> AuditRecord:
    return AuditRecord(audit_id="a1", actor="op", action="halt", subject="n1", at=AT)


def test_an_event_comes_back_as_it_went() -> None:
    value, headers = encode(
        audit(), event_id="e1", source="console", time=AT, subject="n1", traceparent="00-" + "a" * 32
    )
    read = decode([NumberCommand, AuditRecord], value, headers, fallback_id="x")
    assert (read.event, read.id, read.source, read.time, read.subject) == (audit(), "e1", "console", AT, "n1")
    assert read.traceparent == "00-" + "a" * 32
    assert dict(headers)["ce_specversion"] == b"1.0"


@pytest.mark.req("ING-15")
def test_a_console_producer_needs_no_headers() -> None:
    import orjson

    read = decode([SendIntent], orjson.dumps(INTENT), None, fallback_id="send-intents-3-17")
    assert isinstance(read.event, SendIntent)
    assert (read.id, read.source) == ("send-intents-3-17", "unknown")


@pytest.mark.parametrize(
    ("value", "headers", "says"),
    [
        (None, [], "no value"),
        (b"{", [("ce_type", b"harkara.audit.v1")], "JSON"),
        (b"{}", [("ce_type", b"harkara.audit.v9")], "is not one of"),
        (b"{}", [], "is not one of"),
        (b'{"audit_id": 5}', [("ce_type", b"harkara.audit.v1")], "audit_id"),
        (b"\xff\xfe", [("ce_type", b"\xff")], "is not one of"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(
    value: bytes | None, headers: list[tuple[str, bytes]], says: str
) -> None:
    with pytest.raises(Undecodable, match=says):
        decode([AuditRecord, NumberCommand], value, headers, fallback_id="x")


def test_a_refusal_names_the_fields_but_never_their_values() -> None:
    import orjson

    wrong = INTENT | {"to": "919999912345", "mesage": "secret text"}
    with pytest.raises(Undecodable) as refused:
        decode([SendIntent], orjson.dumps(wrong), None, fallback_id="x")
    assert "to: String should match pattern" in str(refused.value)
    assert "mesage: Extra inputs are not permitted" in str(refused.value)
    assert "919999912345" not in str(refused.value) and "secret text" not in str(refused.value)


@given(st.permutations(sorted(INTENT)))
def test_equal_intents_hash_alike_whatever_their_key_order(keys: list[str]) -> None:
    assert SendIntent(**{k: INTENT[k] for k in keys}).hash() == SendIntent(**INTENT).hash()


def test_an_intent_with_another_text_hashes_otherwise() -> None:
    one = SendIntent.model_validate(INTENT)
    assert one.model_copy(update={"content": Text(body="x")}).hash() != one.hash()


def test_life_is_26_hours_by_default_and_six_days_at_most_from_the_record() -> None:
    intent = SendIntent.model_validate(INTENT)
    assert intent.resolved_expiry(AT) == AT + timedelta(hours=26)
    late = intent.model_copy(update={"expires_at": AT + timedelta(days=30)})
    assert late.resolved_expiry(AT) == AT + timedelta(days=6)
    assert LATEST_START + timedelta(days=1) <= LONGEST_LIFE, "what starts last has a day to be sent in"


@pytest.mark.req("ING-9")
def test_text_is_at_most_4096_characters() -> None:
    SendIntent.model_validate(INTENT | {"content": {"type": "text", "body": "x" * 4096}})
    with pytest.raises(ValidationError, match="at most 4096"):
        SendIntent.model_validate(INTENT | {"content": {"type": "text", "body": "x" * 4097}})


@pytest.mark.parametrize(
    ("data", "hashed"),  # from Apache Kafka's own UtilsTest
    [
        (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)  # fmt: skip
def test_murmur2_is_kafkas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF


@given(st.text(min_size=1), st.integers(1, 200))
def test_our_partition_is_the_one_of_kafkas_default_partitioner(key: str, partitions: int) -> None:
    from aiokafka.partitioner import DefaultPartitioner

    numbers = list(range(partitions))
    raw = key.encode(errors="surrogatepass")
    if raw.decode(errors="ignore") == key:
        assert partition_for(key, partitions) == DefaultPartitioner()(raw, numbers, numbers)


@pytest.mark.req("ING-20")
def test_ids_are_a_function_of_the_key_and_the_clients_key_alone() -> None:
    assert derived_message_id("k1", "order-7", 3) == derived_message_id("k1", "order-7", 3)
    ids = {derived_message_id(k, i, r) for k in ("k1", "k2") for i in ("a", "b") for r in range(50)}
    assert len(ids) == 200
    assert derived_run_id("k1", "a") != derived_message_id("k1", "a", 0)
    SendIntent.model_validate(INTENT | {"message_id": derived_message_id("k1", "a", 0)})


def test_a_person_is_the_same_with_and_without_the_plus_and_another_under_another_pepper() -> None:
    assert person_key(b"p" * 16, "+919999912345") == person_key(b"p" * 16, "919999912345")
    assert person_key(b"p" * 16, "+919999912345") != person_key(b"q" * 16, "+919999912345")


def test_event_ids_tell_their_parts_apart() -> None:
    assert event_id("a", "bc") != event_id("ab", "c")


def test_every_topic_has_a_writer_a_reader_and_one_name() -> None:
    assert len(BY_NAME) == len(TOPICS)
    for topic in TOPICS:
        assert topic.writers and topic.readers and topic.events and topic.about, topic.name
    assert set(QUARANTINED) <= set(STREAMS)


def test_a_compacted_journal_keeps_its_tail_for_a_day() -> None:
    assert BY_NAME["dispatch-journal"].configs()["min.compaction.lag.ms"] == str(24 * 3600 * 1000)
    assert BY_NAME["consent-events"].configs()["retention.ms"] == "-1"


def test_a_message_has_one_trace_whoever_writes_of_it() -> None:
    root = message_traceparent("order-0001")
    assert root == message_traceparent("order-0001", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    step = root[:36] + "a" * 16 + "-01"
    assert message_traceparent("order-0001", step) == step, "the step before is kept"
    assert message_traceparent("order-0002")[3:35] != root[3:35]


ZONES = [timezone(timedelta(hours=hours)) for hours in (-12, -5, 0, 14)]


@given(st.datetimes(timezones=st.sampled_from([UTC, *ZONES])) | st.builds(
    lambda edge, seconds, zone: (edge + timedelta(seconds=seconds)).astimezone(zone),
    st.sampled_from([EARLIEST, LATEST]), st.integers(-60_000, 60_000), st.sampled_from(ZONES),
))  # fmt: skip
def test_a_time_is_plausible_from_2000_to_2200_in_whatever_zone(at: datetime) -> None:
    if EARLIEST <= at <= LATEST:
        assert plausible(at) is at
    else:
        with pytest.raises(ValueError, match="2000 and 2200"):
            plausible(at)
