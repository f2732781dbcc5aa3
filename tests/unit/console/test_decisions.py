"""The cursor of the decisions: what it was made of, or a refusal; never an error of Postgres's."""

from __future__ import annotations

import pytest

from harkara.console.decisions import place_of
from harkara.runtime.problems import Problem

AT = "2026-11-20T00:30:00.000001+00:00"


def test_a_cursor_is_a_place() -> None:
    assert place_of(f"{AT}|guard 0a1b") == (AT, "guard", "0a1b")


@pytest.mark.parametrize(
    "cursor",
    ["", "x|guard 0a1b", "2026-13-20T00:30:00+00:00|guard 0a1b", "2026-11-20T00:30:00|guard 0a1b", f"{AT}|guard",
     f"{AT} 0a1b", f"{AT}|guard 0a\x001b", "now|guard 0a1b", "|guard 0a1b"],
)  # fmt: skip
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        place_of(cursor)
    assert (refused.value.status, refused.value.code) == (422, "CURSOR_UNKNOWN")
