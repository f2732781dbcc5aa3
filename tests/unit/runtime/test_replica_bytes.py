"""A replica's owner may take a record as it is; what it does not take, or what its value alone does not tell, is
decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiokafka import ConsumerRecord

from harkara.contracts.consent import ConsentState
from harkara.contracts.event import Event
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES, Topic
from harkara.runtime.clock import ManualClock
from harkara.runtime.replica import ReplicaTable
from harkara.runtime.settings import KafkaSettings, ServiceSettings

PERSON = "0123456789abcdef0123456789abcdef"
VALUE = ConsentState(person_key=PERSON).model_dump_json().encode()
SETTINGS = ServiceSettings(service="test", kafka=KafkaSettings(bootstrap="127.0.0.1:1", topic_prefix="t."))
TYPE = ("ce_type", ConsentState.ce_type.encode())


class Owner:
    """Takes bytes or not, as it is told, and keeps what it was given."""

    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.offered: list[tuple[str, bytes, bytes]] = []
        self.applied: list[tuple[str, str, Event | None]] = []

    def take(self, topic: Topic, key: bytes, value: bytes) -> bool:
        self.offered.append((topic.name, key, value))
        return self.takes

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        self.applied.append((topic.name, key, event))


def given(
    owner: Owner,
    value: bytes | None = VALUE,
    headers: Sequence[tuple[str, bytes]] = (),
    topic: Topic = CONSENT_STATE,
    key: bytes | None = PERSON.encode(),
) -> Owner:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    table = ReplicaTable(SETTINGS, "bytes", [topic], owner.apply, clock, take=owner.take)
    table._take(ConsumerRecord(f"t.{topic.name}", 0, 7, 0, 0, key, value, None, 0, 0, headers))
    return owner


@pytest.mark.parametrize("headers", [(), (TYPE,), (("ce_id", b"1"), TYPE, ("content-type", b"application/json"))])
def test_what_the_owner_takes_is_not_decoded(headers: Sequence[tuple[str, bytes]]) -> None:
    owner = given(Owner(takes=True), headers=headers)
    assert owner.offered == [(CONSENT_STATE.name, PERSON.encode(), VALUE)] and owner.applied == []


def test_what_it_does_not_take_is_decoded() -> None:
    owner = given(Owner(takes=False))
    assert len(owner.offered) == 1
    assert owner.applied == [(CONSENT_STATE.name, PERSON, ConsentState(person_key=PERSON))]


def test_a_tombstone_and_a_record_without_a_key_are_not_offered() -> None:
    assert given(Owner(takes=True), value=None).applied == [(CONSENT_STATE.name, PERSON, None)]
    nameless = given(Owner(takes=True), key=None)
    assert nameless.offered == [] and nameless.applied == [(CONSENT_STATE.name, "", ConsentState(person_key=PERSON))]


def test_what_a_header_calls_something_else_is_not_offered_and_not_applied() -> None:
    for named in (b"harkara.person-alias.v1", b""):
        owner = given(Owner(takes=True), headers=[("ce_type", named), TYPE])
        assert owner.offered == [] and owner.applied == []


def test_of_a_topic_with_several_kinds_the_bytes_do_not_tell() -> None:
    several = replace(CONSENT_STATE, events=(ConsentState, PersonAlias))
    assert given(Owner(takes=True), topic=several).offered == []
    assert given(Owner(takes=True), topic=PERSON_IDENTITIES).offered != []
