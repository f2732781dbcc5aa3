"""Texts read by their shape: what is read is what stands there, and what is of no known shape is not read as one."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from harkara.contracts.event import event_id
from harkara.contracts.persons import PersonAlias
from harkara.policy.shapes import EXACT, ID, KEY, MOST_OF_A_LENGTH, WHOLE, Found, Shape, Shapes, Taught, written_time
from tests.unit.policy.cases import PERSON

OTHER = "fedcba9876543210fedcba9876543210"
AT = "2026-11-21T00:30:00Z"


def text(at: object = AT, identity: object = OTHER, key: object = PERSON, version: object = 1) -> bytes:
    row = {"key": key, "deep": {"at": at, "id": identity}, "list": [at], "version": version}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def test_what_differs_is_read_and_the_rest_is_the_shape() -> None:
    shapes = Shapes(10)
    first, second = shapes.read(PERSON.encode(), text()), shapes.read(OTHER.encode(), text(AT, PERSON, OTHER))
    assert first is not None and second is not None
    (shape, found), (again, other) = first, second
    at = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
    assert shape is again is shapes[0] and shape.number == 0 and shape.kinds == (KEY, WHOLE, ID, WHOLE)
    assert found == [b"", at, bytes.fromhex(OTHER), at] and other[2] == bytes.fromhex(PERSON)
    assert shape.places() == {("key",): 0, ("deep", "at"): 1, ("deep", "id"): 2}


@pytest.mark.parametrize(
    "changed",
    [
        text(version=2),
        text(at="2026-11-21T00:30:00.5Z"),
        text(at="2026-11-21t00:30:00Z"),
        text(at="2026-13-21T00:30:00Z"),
        text(at="2026-W47-6T00:30:00Z"),
        text(at="20261121-T-0:30:00Z0"),
        text(at="2026-11-21T00:30:0\u0663")[:-1] + b" ",
        text(identity=OTHER.upper()),
        text(identity=" " * 32),
        text(identity="g" * 32),
        text(key=OTHER),
        text().replace(b"version", b"Version"),
        text().replace(b":1}", b":1]"),
    ],
)
def test_what_would_not_be_written_the_same_way_is_of_another_shape(changed: bytes) -> None:
    shapes = Shapes(10)
    known = shapes.read(PERSON.encode(), text())
    found = shapes.read(PERSON.encode(), changed)
    assert known is not None and found is not None and found[0].number == 1
    pieces = changed.split(b'"')
    strings = {piece for piece in pieces[1::2] if piece == PERSON.encode()}
    assert (KEY in found[0].kinds) == bool(strings)


def test_an_escape_has_no_shape() -> None:
    """Its quote would end no string."""
    shapes = Shapes(10)
    assert shapes.read(PERSON.encode(), text(version='"')) is None
    assert shapes.read(PERSON.encode(), text()) is not None


def test_what_is_in_no_string_is_of_the_shape() -> None:
    """A number may be as long as an id; another one in its place could be none, as with zeros before it."""
    shapes = Shapes(10)
    for number, version in enumerate((int("1" * 32), int("2" * 32))):
        read = shapes.read(PERSON.encode(), text(version=version))
        assert read is not None and read[0].number == number and read[0].kinds == (KEY, WHOLE, ID, WHOLE)


def test_only_so_many_are_kept() -> None:
    shapes = Shapes(2)
    for version in (1, 22, 1, 333, 22):
        assert (shapes.read(PERSON.encode(), text(version=version)) is None) is (version == 333)


def test_texts_with_the_same_places_are_told_apart_at_one_look() -> None:
    """However many: each language of a country makes a shape, and none is met for the first time more than once."""
    shapes, texts = Shapes(100), [text(version=each) for each in range(10, 90)]
    assert [_number(shapes, each) for each in texts * 2] == [*range(80), *range(80)]
    assert [len(layout.shapes) for layout in shapes._of_length[len(texts[0])]] == [80]


def test_more_layouts_of_a_length_than_are_tried_are_known_again() -> None:
    """Their places lie elsewhere: a piece of the text goes from before them to behind them."""
    shapes, lengths = Shapes(100), range(1, 40)
    texts = [b'{"%s":%s,"%s":1}' % (b"a" * each, text(), b"b" * (40 - each)) for each in lengths]
    assert len({len(each) for each in texts}) == 1
    assert [_number(shapes, each) for each in texts * 2] == [*range(39), *range(39)]
    tried = shapes._of_length[len(texts[0])]
    assert len(tried) == MOST_OF_A_LENGTH and all(len(layout.shapes) == 1 for layout in tried)


def _number(shapes: Shapes, value: bytes) -> int:
    read = shapes.read(PERSON.encode(), value)
    assert read is not None
    return read[0].number


@pytest.mark.parametrize("seed", range(3))
def test_a_text_comes_back_of_its_shape(seed: int) -> None:
    chance, shapes = random.Random(seed), Shapes(100)
    for _ in range(200):
        key, identity = chance.randbytes(16).hex(), chance.randbytes(16).hex()
        seconds, micro = chance.randrange(-(10**10), 10**10), chance.choice([0, chance.randrange(10**6)])
        at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro)
        kind = EXACT if chance.random() < 0.5 else WHOLE
        value = text(written_time(kind, at).decode(), identity, key, chance.randrange(5))
        read = shapes.read(key.encode(), value)
        assert read is not None
        shape, found = read
        assert found[1] == (at if kind == EXACT else at.replace(microsecond=0))
        written = [_written(kind, each, key) for kind, each in zip(shape.kinds, found, strict=True)]
        assert shape.text(written) == value


def _written(kind: bytes, found: bytes | datetime, key: str) -> bytes:
    if isinstance(found, datetime):
        return written_time(kind, found)
    return key.encode() if kind == KEY else found.hex().encode()


def link(number: int, at: str = AT) -> bytes:
    told = {"person_key": PERSON, "alias_key": event_id(number), "kind": "user_id", "at": at}
    return json.dumps(told, separators=(",", ":")).encode()


@pytest.mark.parametrize("said", ["what they all say", None])
def test_the_first_of_a_shape_teaches_and_no_other_is_decoded(said: str | None) -> None:
    decoded = list[str]()

    def learn(shape: Shape, found: list[Found], alias: PersonAlias) -> str | None:
        decoded.append(alias.alias_key)
        return said

    taught = Taught(10, PersonAlias, learn)
    assert taught.read(b"", link(0, "1999-11-21T00:30:00Z")) is None, "no event may say that: it teaches nothing"
    for number in (1, 2, 3):
        read = taught.read(b"", link(number))
        assert (None if read is None else read[0]) == said
        assert read is None or bytes.fromhex(event_id(number)) in read[1]
    assert decoded == [event_id(1)]
