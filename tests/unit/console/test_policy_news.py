"""Which of a service's words on its policy the audit keeps: by what is on record, not by whose clock is right (B11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harkara.console.chain import OnRecord, is_news
from harkara.contracts.audit import AuditRecord

AT = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
Said = tuple[str, int] | tuple[str, int, str]
"""The version, the minute by the speaker's clock, and what of the policy was recorded."""


def word(version: str, minute: int, content: str = "") -> AuditRecord:
    return AuditRecord(
        audit_id=f"{version}-{minute}", actor="window-router", action="policy_applied", subject=version,
        at=AT + timedelta(minutes=minute), details={"content": content} if content else {},
    )  # fmt: skip


def kept(*said: Said) -> list[tuple[str, int]]:
    """What of these words is kept, in the order in which they are read."""
    found: list[AuditRecord] = []
    places: list[tuple[str, int]] = []
    for each in said:
        record, on_record = word(*each), OnRecord()
        for before in found:
            on_record = on_record.then(before, record)
        if is_news(record, on_record):
            found.append(record)
            places.append((each[0], each[1]))
    return places


@pytest.mark.req("B11")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param([("a", 0), ("a", 5), ("a", 9)], [("a", 0)], id="restarts"),
        pytest.param([("a", 0), ("b", 5), ("a", 9)], [("a", 0), ("b", 5), ("a", 9)], id="there and back"),
        pytest.param([("a", 0), ("a", 3), ("b", 5), ("a", 3), ("b", 6)], [("a", 0), ("b", 5)], id="read again"),
        pytest.param([("a", 9000), ("b", 5), ("c", 6)], [("a", 9000), ("b", 5), ("c", 6)], id="a clock was ahead"),
        pytest.param([("a", 9000), ("b", 5), ("b", 6), ("a", 7)], [("a", 9000), ("b", 5), ("a", 7)],
                     id="back after a clock was ahead"),
        pytest.param([("a", 0), ("a", 5, "whole"), ("a", 6, "whole")], [("a", 0), ("a", 5)], id="whole at last"),
        pytest.param([("a", 0, "part"), ("a", 5, "whole"), ("a", 6, "part"), ("a", 7, "whole"), ("a", 8)],
                     [("a", 0), ("a", 5)], id="two releases side by side"),
        pytest.param([("a", 9, "part"), ("b", 10, "b"), ("a", 5, "whole")], [("a", 9), ("b", 10), ("a", 5)],
                     id="whole, by a clock that is behind"),
    ],
)  # fmt: skip
def test_what_is_news_of_a_policy(said: list[Said], expected: list[tuple[str, int]]) -> None:
    assert kept(*said) == expected
