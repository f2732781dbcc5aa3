"""What may be committed where records are not done in order."""

from __future__ import annotations

import random

import pytest

from harkara.outcome_notifier.window import Window


def test_a_position_never_passes_what_is_not_done() -> None:
    window: Window[str] = Window()
    for offset in (5, 6, 7):
        assert window.add("p", offset)
    assert not window.add("p", 6)
    window.done("p", 6)
    assert window.positions() == {"p": 5}
    assert window.positions() == {}
    window.done("p", 5)
    assert window.positions() == {"p": 7}
    window.done("p", 7)
    assert window.positions() == {"p": 8}
    assert len(window) == 0


def test_what_is_forgotten_is_committed_no_more() -> None:
    window: Window[str] = Window()
    window.add("p", 0)
    window.add("q", 0)
    window.forget(["p"])
    window.done("p", 0)
    window.done("q", 0)
    assert window.positions() == {"q": 1}
    window.forget()
    assert window.add("q", 0)


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_things_end_all_is_committed_at_last(seed: int) -> None:
    chance, window = random.Random(seed), Window[int]()
    waiting: list[int] = []
    offset = committed = 0
    while offset < 300 or waiting:
        if offset < 300 and chance.random() < 0.6:
            window.add(0, offset * 3)  # offsets may have gaps
            waiting.append(offset * 3)
            offset += 1
        elif waiting:
            window.done(0, waiting.pop(chance.randrange(len(waiting))))
        position = window.positions().get(0, committed)
        assert committed <= position <= min(waiting, default=offset * 3)
        committed = position
    assert committed == 299 * 3 + 1
