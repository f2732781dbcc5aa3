"""What a plan knows of numbers and persons: the newest word of each, in whatever order records come, and no window for
longer than it is open."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.event import Event
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.persons import PersonAlias
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import (
    NUMBER_STATE,
    PERSON_IDENTITIES,
    QUEUE_STATE,
    SERVICE_WINDOWS,
    TEMPLATE_STATE,
    Topic,
)
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.known import Known
from tests.unit.policy.cases import NOW, PERSON

NUMBER, OTHER = "100000000000001", "100000000000002"
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def window(at: datetime, person: str = PERSON, number: str = NUMBER) -> ServiceWindow:
    return ServiceWindow(phone_number_id=number, person_key=person, last_inbound_at=at)


def state(version: int, number: str = NUMBER) -> NumberState:
    return NumberState(phone_number_id=number, home=number, version=version, verdict="open", updated_at=NOW)


def queue(queued: int, at: datetime = NOW, number: str = NUMBER) -> QueueState:
    return QueueState(
        phone_number_id=number, home=number, queued=queued, scheduled=0, held=0, in_flight=0, in_doubt=0,
        sent_last_minute=0, sent_today=0, updated_at=at,
    )  # fmt: skip


def template(version: int, **more: Any) -> TemplateState:
    told = {"waba_id": "2", "name": "greeting", "language": "en", "status": "APPROVED"}
    return TemplateState.model_validate(told | {"version": version, "observed_at": NOW, "updated_at": NOW} | more)


def knowing(*records: tuple[Topic, Event]) -> Known:
    known = Known(Clock())
    for topic, event in records:
        known.apply(topic, "", event)
    return known


def opened(known: Known, person: str = PERSON) -> dict[str, datetime]:
    return dict(known.around(person, [NUMBER, OTHER]).last_inbound_at)


@pytest.mark.req("RTW-1")
def test_a_window_is_told_of_this_person_and_these_numbers_alone() -> None:
    known = knowing((SERVICE_WINDOWS, window(NOW - HOUR)), (SERVICE_WINDOWS, window(NOW, number="100000000000009")))
    assert opened(known) == {NUMBER: NOW - HOUR}
    assert opened(known, "f" * 32) == {}
    assert known.open_windows() == 2


@pytest.mark.req("RTW-1")
def test_a_window_only_moves_forward_and_is_not_taken_when_it_has_closed() -> None:
    known = knowing(*((SERVICE_WINDOWS, window(NOW - each * HOUR)) for each in (2, 1, 3)))
    assert opened(known) == {NUMBER: NOW - HOUR}
    late = knowing((SERVICE_WINDOWS, window(NOW - 24 * HOUR)))
    assert (opened(late), late.open_windows()) == ({}, 0)
    just = NOW - 24 * HOUR + timedelta(milliseconds=1)
    assert opened(knowing((SERVICE_WINDOWS, window(just)))) == {NUMBER: just}


@pytest.mark.req("B17", "RTW-1")
def test_of_a_persons_names_the_latest_window_counts_and_an_old_number_only_while_it_was_theirs() -> None:
    old, new = "a" * 32, "b" * 32
    moved = PersonAlias(person_key=new, alias_key=old, kind="number_changed", at=NOW - 2 * HOUR)
    known = knowing((PERSON_IDENTITIES, moved), (SERVICE_WINDOWS, window(NOW - 3 * HOUR, old)))
    assert opened(known, new) == {NUMBER: NOW - 3 * HOUR}
    for at, told in ((5, 3), (1, 1)):  # an older one under the name itself takes nothing away, a newer one counts
        known.apply(SERVICE_WINDOWS, "", window(NOW - at * HOUR, new))
        assert opened(known, new) == {NUMBER: NOW - told * HOUR}
    known.apply(SERVICE_WINDOWS, "", window(NOW, old))
    assert opened(known, new) == {NUMBER: NOW - HOUR}, "the number's next owner wrote"
    last = knowing((PERSON_IDENTITIES, moved), (SERVICE_WINDOWS, window(moved.at, old)))
    assert opened(last, new) == {NUMBER: moved.at}, "the person wrote, and moved"


def test_of_a_number_the_highest_version_counts_and_the_last_of_equals() -> None:
    known = Known(Clock())
    assert known.around(PERSON, [NUMBER]).states == {}
    for version, told in ((3, 3), (2, 3), (4, 4)):
        known.apply(NUMBER_STATE, NUMBER, state(version))
        assert known.around(PERSON, [NUMBER]).states[NUMBER].version == told
    known.apply(NUMBER_STATE, NUMBER, state(4).model_copy(update={"quality": "RED"}))
    assert known.around(PERSON, [NUMBER]).states[NUMBER].quality == "RED"
    assert known.around(PERSON, [OTHER]).states == {}


def test_of_a_queue_the_newest_counts_and_the_last_of_equals() -> None:
    known = Known(Clock())
    assert known.around(PERSON, [NUMBER]).queues == {}
    for queued, at, told in ((1, NOW, 1), (2, NOW - HOUR, 1), (3, NOW, 3), (4, NOW + HOUR, 4)):
        known.apply(QUEUE_STATE, NUMBER, queue(queued, at))
        assert known.around(PERSON, [NUMBER]).queues[NUMBER].queued == told
    assert known.around(PERSON, [OTHER]).queues == {}


def test_of_a_template_the_highest_version_counts_and_the_last_of_equals() -> None:
    known = Known(Clock())
    assert known.around(PERSON, [NUMBER]).templates == {}
    for version, told in ((3, 3), (2, 3), (4, 4)):
        known.apply(TEMPLATE_STATE, "", template(version))
        assert known.around(PERSON, [NUMBER]).templates[template(1).key].version == told
    known.apply(TEMPLATE_STATE, "", template(4).model_copy(update={"status": "PAUSED"}))
    assert known.templates[template(1).key].status == "PAUSED"


def test_a_tombstone_forgets_what_its_own_topic_said() -> None:
    records = [
        (SERVICE_WINDOWS, f"{NUMBER}:{PERSON}", window(NOW)), (NUMBER_STATE, NUMBER, state(1)),
        (QUEUE_STATE, NUMBER, queue(1)), (TEMPLATE_STATE, template(1).key, template(1)),
    ]  # fmt: skip

    def held(known: Known) -> list[bool]:
        found = known.around(PERSON, [NUMBER])
        return [bool(each) for each in (found.last_inbound_at, found.states, found.queues, found.templates)]

    for place, (topic, key, _) in enumerate(records):
        known = knowing(*((topic, event) for topic, _, event in records))
        known.apply(topic, "another", None)
        known.apply(PERSON_IDENTITIES, key, None)
        assert held(known) == [True] * 4
        known.apply(topic, key, None)
        assert held(known) == [place != each for each in range(4)]


@pytest.mark.req("B17")
def test_links_alone_are_taken_as_their_json() -> None:
    known = Known(Clock())
    assert known.take(SERVICE_WINDOWS, b"", window(NOW).model_dump_json().encode()) is False
    links = [PersonAlias(person_key=PERSON, alias_key=f"{n:032x}", kind="user_id", at=NOW) for n in range(2)]
    for link in links:
        if not known.take(PERSON_IDENTITIES, b"", link.model_dump_json().encode()):
            known.apply(PERSON_IDENTITIES, "", link)
    assert known.take(PERSON_IDENTITIES, b"", links[1].model_dump_json().encode()) is True
    known.apply(SERVICE_WINDOWS, "", window(NOW, links[1].alias_key))
    assert opened(known) == {NUMBER: NOW}


def opens(known: Known, persons: range, at: datetime) -> None:
    for person in persons:
        known.apply(SERVICE_WINDOWS, "", window(at, f"{person:032x}"))


def test_windows_that_have_closed_are_dropped_once_there_are_ten_thousand() -> None:
    clock = Clock()
    known = Known(clock)
    opens(known, range(10_000), NOW)
    clock.now = NOW + 24 * HOUR
    assert known.open_windows() == 10_000, "nobody looks as long as nobody writes"
    opens(known, range(10_000, 10_001), clock.now)
    assert known.open_windows() == 1


def test_the_next_look_is_at_twice_as_many_as_were_open_at_the_last() -> None:
    clock = Clock()
    known = Known(clock)
    opens(known, range(10_001), NOW)
    assert known.open_windows() == 10_001
    clock.now = NOW + 24 * HOUR
    opens(known, range(10_001, 20_002), clock.now)
    assert known.open_windows() == 20_002
    opens(known, range(20_002, 20_003), clock.now)
    assert known.open_windows() == 10_002


@pytest.mark.req("CMP-11")
def test_a_templates_wording_is_the_one_of_its_newest_state_and_goes_with_it() -> None:
    first = "our festival offer on gold plans ends this Sunday at midnight"
    second = "our monsoon offer for silver plans began this Tuesday before noon"
    known = knowing(
        (TEMPLATE_STATE, template(2, wording=second, category="MARKETING")),
        (TEMPLATE_STATE, template(1, wording=first, category="MARKETING")),
    )

    def repeated(text: str) -> bool:
        wordings = known.around(PERSON, [NUMBER]).wordings
        assert wordings is not None
        return wordings.repeats(text, "utility") is not None

    assert repeated(second) and not repeated(first)
    assert known.around(PERSON, [NUMBER]).templates["2/greeting/en"].wording is None, "it is held once"
    known.apply(NUMBER_STATE, "2/greeting/en", None)
    assert repeated(second)
    known.apply(TEMPLATE_STATE, "2/greeting/en", None)
    assert not repeated(second) and known.templates == {}
