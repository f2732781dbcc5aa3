"""What a person may ask for: sealed audit records, how long copies last, and the documents' schemas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from harkara.contracts.audit import (
    CHAIN_START,
    AuditRecord,
    fields_to_seal,
    linked_hash,
    persons_in,
    seal,
    without_person,
)
from harkara.contracts.event import Value
from harkara.contracts.person_export import DOCUMENTS, KEPT, ErasureReceipt, schema_text
from harkara.contracts.retention import copies, lasts
from harkara.contracts.topics import BY_NAME, STREAMS, TOPICS

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)
ASHA, RAVI = "ab" * 16, "cd" * 16
REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
RECORD = AuditRecord(
    audit_id="a-1", actor="guard", action="intent_rejected", subject=ASHA, at=AT,
    details={"person_key": ASHA, "code": "no_opt_in", "note": f"as {RAVI} said", "subject": "a detail of that name"},
)  # fmt: skip
SALTS = {"subject": "s1", "details.person_key": "s2", "details.note": "s3"}


@pytest.mark.req("CMP-10", "CMP-12")
def test_a_person_goes_out_of_a_record_and_its_hash_stays() -> None:
    assert set(fields_to_seal(RECORD)) == SALTS.keys() and persons_in(RECORD) == {ASHA, RAVI}
    whole = linked_hash(CHAIN_START, RECORD, SALTS)
    bare, rest = without_person(RECORD, SALTS, ASHA)
    assert ASHA not in bare.model_dump_json() and rest == {"details.note": "s3"}
    assert bare.subject == seal("s1", ASHA) != bare.details["person_key"] == seal("s2", ASHA)
    assert (bare.details["code"], bare.details["note"]) == ("no_opt_in", RECORD.details["note"])
    assert linked_hash(CHAIN_START, bare, rest) == whole
    nobody, none = without_person(bare, rest, RAVI)
    assert linked_hash(CHAIN_START, nobody, none) == linked_hash(CHAIN_START, nobody) == whole and not none
    assert persons_in(nobody) == set()


@pytest.mark.req("CMP-10")
@pytest.mark.parametrize(
    "change",
    [
        {"subject": RAVI}, {"subject": seal("s1", RAVI)}, {"actor": "me"}, {"action": "intent_cleared"},
        {"details": RECORD.details | {"code": "opted_out"}}, {"details": RECORD.details | {"note": "nothing"}},
        {"details": {}}, {"at": AT + timedelta(microseconds=1)},
    ],
    ids=str,
)  # fmt: skip
def test_a_changed_word_is_seen_whether_it_is_sealed_or_not(change: dict[str, Any]) -> None:
    whole = linked_hash(CHAIN_START, RECORD, SALTS)
    assert linked_hash(CHAIN_START, RECORD.model_copy(update=change), SALTS) != whole
    bare, rest = without_person(RECORD, SALTS, ASHA)
    assert linked_hash(CHAIN_START, bare.model_copy(update=change), rest) != whole


def test_a_record_from_before_there_were_salts_hashes_as_it_did_and_cannot_be_taken_apart() -> None:
    assert linked_hash(CHAIN_START, RECORD) == linked_hash(CHAIN_START, RECORD, {}) == linked_hash(
        CHAIN_START, RECORD, None
    )  # fmt: skip
    assert without_person(RECORD, {}, ASHA) == (RECORD, {})


@pytest.mark.req("CMP-12", "CMP-13")
def test_how_long_a_copy_lasts_is_what_the_topic_is_created_with() -> None:
    found = {copy.topic: copy for copy in copies(AT)}
    assert found.keys() == {topic.name for topic in TOPICS if topic.personal_data or topic.pseudonyms}
    for name, copy in found.items():
        settings = BY_NAME[name].configs()
        if settings["cleanup.policy"] == "compact" or settings["retention.ms"] == "-1":
            assert copy.until is None and lasts(BY_NAME[name]) is None
        else:
            segment = int(settings.get("segment.ms", 7 * 86_400_000))
            assert copy.until == AT + timedelta(milliseconds=int(settings["retention.ms"]) + segment)
    ends = [copy.until for copy in copies(AT)]
    assert ends == sorted(ends, key=lambda end: (end is None, end or AT))


@pytest.mark.req("CMP-12")
def test_what_goes_by_time_is_gone_within_31_days() -> None:
    """Of names and contents only the journal is left, whose keys are taken out one by one: seven days after a message's
    end."""
    found = copies(AT)
    assert [each.topic for each in found if each.holds == "name_and_content" and each.until is None] == [
        "dispatch-journal"
    ]
    assert max(each.until for each in found if each.until is not None) <= AT + timedelta(days=31)
    assert {each.topic for each in found if each.until is None} == {
        "consent-events", "consent-state", "dispatch-journal", "message-state", "person-identities", "service-windows",
    }  # fmt: skip


NAMING = {"person_key", "alias_key", "reached_key", "also_key", "persons", "facts", "recipient"}


def fields_of(kind: Any, seen: set[Any]) -> set[str]:
    """The names of all fields, however deep."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen.add(kind)
        parts = [fields_of(each.annotation, seen) for each in kind.model_fields.values()]
        return set(kind.model_fields).union(*parts)
    return set[str]().union(*(fields_of(each, seen) for each in get_args(kind)))


@pytest.mark.req("CMP-12", "CMP-13")
def test_the_table_knows_of_every_topic_whose_events_name_persons() -> None:
    for topic in STREAMS:
        names = any(fields_of(event, set()) & NAMING for event in topic.events)
        assert topic.personal_data or topic.pseudonyms or not names, f"{topic.name}: say whom it names"
        assert topic.dlq.pseudonyms == topic.pseudonyms


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_schemas_are_the_generated_ones(name: str) -> None:
    assert (REFERENCE / f"{name}.schema.json").read_text() == schema_text(name), "run `make docs`"


def test_a_receipt_is_as_its_schema_says() -> None:
    receipt = ErasureReceipt(erasure_id="e", erased_at=AT, names=1, copies=copies(AT), kept=KEPT)
    schema = DOCUMENTS["erasure-receipt"].model_json_schema(mode="serialization")
    assert issubclass(ErasureReceipt, Value)
    Draft202012Validator(schema).validate(receipt.model_dump(mode="json"))
