"""Rows packed by name: they do what a dict does, in a fraction of its memory."""

from __future__ import annotations

import random

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


def test_more_rows_than_there_are_places_are_told_apart() -> None:
    rows, names = PackedRows(), [n.to_bytes(16, "big") for n in range(70_000)]
    for name in names:
        rows[name] = name[-3:]
    assert len(rows) == len(names) and all(rows.get(name) == name[-3:] for name in names)
    assert rows.get((70_001).to_bytes(16, "big")) is None


def test_what_stands_across_two_names_is_neither() -> None:
    """The end of one name and the beginning of the next one, in a place that all three would share."""
    for seed in range(20):
        names = [random.Random(f"{seed}.{n}").randbytes(16) for n in range(2)]
        rows = PackedRows()
        rows._buckets = _OnePlace()
        for name in names:
            rows[name] = name[:1]
        assert rows.get((names[0] + names[1])[8:24]) is None and (names[0] + names[1])[3:19] not in rows
        assert [rows.get(name) for name in names] == [name[:1] for name in names]


class _OnePlace(dict[int, bytes]):
    """Whatever the hash: a hash of bytes is another one in every process."""

    def get(self, key: int, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        return super().get(0, default)

    def __setitem__(self, key: int, value: bytes) -> None:
        super().__setitem__(0, value)
