"""Rows packed by name: they do what a dict does, in a fraction of its memory."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from harkara.policy.rows import PackedRows


@pytest.mark.parametrize("seed", range(3))
def test_packed_rows_do_what_a_dict_does(seed: int) -> None:
    chance, known, rows = random.Random(seed), dict[bytes, bytes](), PackedRows()
    names = (
        [chance.randbytes(16) for _ in range(200)] + [bytes([n]) * 16 for n in range(3)] + [b"", b"short", b"x" * 40]
    )
    for _ in range(4000):
        name, row = chance.choice(names), chance.randbytes(chance.randrange(60))
        if chance.random() < 0.7:
            known[name] = row
            rows[name] = row
        else:
            known.pop(name, None)
            rows.pop(name)
        assert rows.get(name) == known.get(name) and (name in rows) == (name in known) and len(rows) == len(known)
    assert {name: rows.get(name) for name in names if name in rows} == known


def test_many_rows_are_told_apart_in_buckets_that_stay_short() -> None:
    """However many there are, as they come and as they go: no bucket has much more than its share."""
    rows, names = PackedRows(), [n.to_bytes(16, "big") for n in range(70_000)]
    for number, name in enumerate(names, start=1):
        rows[name] = name[-3:]
        if number in (1, 7, 100, 1000, 10_000):
            assert len(rows) == number and set(rows) == set(names[:number])
    assert len(rows) == len(names) and all(rows.get(name) == name[-3:] for name in names)
    assert rows.get((70_001).to_bytes(16, "big")) is None
    assert max(bucket[0] | bucket[1] << 8 for bucket in rows._buckets) < 100
    for name in names[::2]:
        rows.pop(name)
    assert len(rows) == len(names) / 2 and set(rows) == set(names[1::2])


def test_a_row_takes_its_name_its_bytes_and_four_more() -> None:
    rows = PackedRows()
    for number in range(1000):
        assert rows.add(number.to_bytes(16, "big"), b"12345") and not rows.add(number.to_bytes(16, "big"), b"67890")
    assert sum(map(len, rows._buckets)) == 1000 * (16 + 4 + 5) + 2 * len(rows._buckets)
    assert len(rows._buckets) == 84, "one for every twelve rows"
    assert rows.get(bytes(16)) == b"12345" and rows.add(b"short", b"1") and not rows.add(b"short", b"2")


def test_a_bucket_holds_however_many_come_to_it() -> None:
    """More than a byte counts; no hash prevents it."""
    chance, rows = random.Random(1), PackedRows()
    drawn = (chance.randbytes(16) for _ in range(1_000_000))
    names = list(islice((name for name in drawn if hash(name) % 1024 == 0), 300))
    for name in names:
        rows[name] = name[:2]
    assert len(names) == 300 and max(bucket[0] | bucket[1] << 8 for bucket in rows._buckets) == 300
    assert set(rows) == set(names) and all(rows.get(name) == name[:2] for name in names)
    for name in names:
        rows.pop(name)
    assert len(rows) == 0 and list(rows) == []


def test_what_stands_across_two_names_is_neither() -> None:
    """The end of one name and the beginning of the next one, where all of them share a bucket."""
    seen = 0
    for seed in range(5000):
        names = [random.Random(f"{seed}.{n}").randbytes(16) for n in range(2)]
        across = [(names[0] + names[1])[8:24], (names[0] + names[1])[3:19]]
        rows = PackedRows()
        if len({rows._number(name) for name in (*names, *across)}) > 1:
            continue  # which they are is another one in every process
        seen += 1
        for name in names:
            rows[name] = name[:1]
        assert rows.get(across[0]) is None and across[1] not in rows
        assert [rows.get(name) for name in names] == [name[:1] for name in names]
    assert seen
