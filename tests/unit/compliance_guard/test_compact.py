"""The projection's rows, kept small: every row comes back as it was, whatever is in it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any, get_args

import orjson
import pytest

from harkara.compliance_guard.compact import AS_IT_IS, MOST_TEXTS, CompactRows
from harkara.compliance_guard.core import projected
from harkara.contracts.consent import PURPOSES, Change, ConsentEvent, Source
from harkara.contracts.event import event_id
from tests.unit.policy.cases import NOW, PERSON

OTHER = "fedcba9876543210fedcba9876543210"
ODD: list[Any] = [
    "", "\x01", "\x02", '"', "\\", "\u2028", "नमस्ते", "x" * 32, "F" * 32, "f" * 32, PERSON, PERSON.upper(), " " * 32,
    "ab " * 10 + "ab", "2026-11-21T00:30:00Z", "2026-11-21T00:30:00.000001Z", "2026-11-21T00:30:00.000000Z",
    "2026-11-21 00:30:00Z", "2026-11-21T24:30:00Z", "2026-11-21T00:30:00,000001Z", "20261121T003000.00000001Z",
    "2026-W47-6T00:30:00Z", "2026-11-21T00:30:00+05:30", "2026-11-21T00:30:00.0+02:00", "1969-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-21T00:30:0\u0663Z", 7, -1, 1.5, None, True, [], {},
    [PERSON],
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_row_comes_back_as_it_was(odd: Any) -> None:
    rows, row = CompactRows(), {"person_key": PERSON, "a": odd, "b": {"c": [odd, OTHER]}, "version": 3}
    for key in (PERSON, OTHER, "a key of another kind", PERSON.upper(), PERSON[:30], " " + PERSON):
        rows[key] = row
        assert orjson.dumps(rows[key]) == orjson.dumps(row)
    assert set(rows) == {PERSON, OTHER, "a key of another kind", PERSON.upper(), PERSON[:30], " " + PERSON}
    assert len(rows) == 6


@pytest.mark.parametrize("most_texts", [MOST_TEXTS, 1])
def test_the_rows_of_many_persons(most_texts: int) -> None:
    """Also where no more shapes are kept: then a row is kept as it is."""
    chance, rows, known = random.Random(1), CompactRows(most_texts), dict[str, dict[str, Any]]()
    for number in range(3000):
        person = event_id("person", chance.randrange(300))
        event = ConsentEvent(
            event_id=event_id("event", number),
            person_key=person,
            standing=chance.choice(get_args(Change)),
            purpose=chance.choice([None, *PURPOSES]),
            source=chance.choice(get_args(Source)),
            at=NOW - timedelta(seconds=chance.randrange(10**6), microseconds=chance.choice([0, 7])),
            until=chance.choice([None, NOW + timedelta(days=1)]),
            language=chance.choice([None, "hi", "pt_BR"]),
        )
        assert rows.get(person) == known.get(person)
        row = projected(rows.get(person), event)
        assert row == projected(known.get(person), event)
        if row is not None:
            rows[person] = known[person] = row
        if number % 50 == 0:
            gone = chance.choice(sorted(known))
            assert rows.pop(gone, None) == known.pop(gone)
    assert dict(rows) == known and len(rows) == len(known)
    packed = [rows._rows.get(bytes.fromhex(person)) or b"" for person in known]
    assert any(each.startswith(AS_IT_IS.to_bytes(2, "big")) for each in packed) == (most_texts == 1)


def test_what_is_not_there_is_said_so() -> None:
    rows = CompactRows()
    for key in (PERSON, "another"):
        assert rows.get(key) is None and key not in rows and rows.pop(key, None) is None
        with pytest.raises(KeyError):
            del rows[key]


def test_a_person_takes_few_bytes() -> None:
    rows = CompactRows()
    for number in range(200):
        person = event_id("person", number)
        rows[person] = {
            "person_key": person,
            "marketing": {"standing": "opted_in", "at": "2026-11-21T00:30:00.000001Z", "event_id": event_id(number)},
            "version": 1,
        }
    packed = [rows._rows.get(bytes.fromhex(person)) for person in rows]
    assert {len(row) for row in packed if row is not None} == {2 + 8 + 16}


def as_kept(row: Any, key: str = PERSON) -> tuple[bytes, bytes]:
    return key.encode(), orjson.dumps(row)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_row_that_is_kept_as_its_text_comes_back_as_it_was(odd: Any) -> None:
    """Where it is not kept, nothing is."""
    row = {"person_key": PERSON, "a": odd, "b": {"c": [odd, OTHER]}, "version": 3}
    for key in (PERSON, OTHER, "a key of another kind", PERSON.upper(), PERSON[:30], ""):
        rows = CompactRows()
        kept = rows.keep(*as_kept(row, key))
        assert rows.get(key) == (row if kept else None) and len(rows) == kept
        assert kept is (key == PERSON and b"\\" not in orjson.dumps(row)) or (key == OTHER and kept)
        rows[key] = row
        assert rows[key] == row and not rows.keep(*as_kept(row, key)), "what is held is not for the text to replace"


def test_a_text_that_is_no_row_is_not_kept() -> None:
    rows = CompactRows()
    row = {"person_key": PERSON, "version": 1}
    assert not rows.keep(*as_kept([PERSON]))
    with pytest.raises(orjson.JSONDecodeError):
        rows.keep(PERSON.encode(), orjson.dumps(row)[:-1])
    assert rows.keep(*as_kept(row)) and rows[PERSON] == row
    with pytest.raises(orjson.JSONDecodeError):
        rows.keep(OTHER.encode(), orjson.dumps(row | {"person_key": OTHER})[:-1])
    assert len(rows) == 1


def test_rows_are_kept_by_the_shape_of_others() -> None:
    rows = CompactRows()
    for number in range(300):
        person, at = event_id("person", number), NOW + timedelta(seconds=number, microseconds=number % 2)
        row = {"person_key": person, "at": at.isoformat().replace("+00:00", "Z"), "id": event_id(number), "version": 1}
        assert rows.keep(*as_kept(row, person))
        assert rows[person] == row
    assert len(rows) == 300 and len(rows._rows_there) == 2
