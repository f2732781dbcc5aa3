"""The judge of the demonstration: it must find every lie, or a green demo means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harkara.cli.audience import audience_csv
from harkara.cli.demo import kill_points
from harkara.cli.evidence import Accepted, judge, percentile

ROOT = Path(__file__).resolve().parents[3]


def accepted(message_id: str, wamid: str, attempt: int = 1, at_ms: int = 1_500) -> Accepted:
    return Accepted(message_id, attempt, wamid, "100000000000001", at_ms)


def state(status: str, wamid: str | None = None, reason: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"status": status, "facts": {"received_at_ms": 1_000.0}}
    if wamid:
        found["wamid"] = wamid
    if reason:
        found["reason"] = {"code": reason, "text": "why"}
    return found


def test_each_once_and_told_so_holds() -> None:
    verdict = judge(
        ["a", "b", "c"],
        [accepted("a", "w1"), accepted("b", "w2")],
        {"a": state("read", "w1"), "b": state("sent", "w2"), "c": state("rejected", reason="opted_out")},
    )
    assert verdict.holds
    assert (verdict.accepted, verdict.by_status) == (2, {"read": 1, "sent": 1, "rejected": 1})
    assert verdict.by_reason == {"rejected: opted_out": 1}
    assert list(verdict.waits_ms) == [500.0, 500.0]


@pytest.mark.req("B1")
def test_a_message_that_went_twice_is_found_though_the_projection_shows_one() -> None:
    verdict = judge(["a"], [accepted("a", "w1"), accepted("a", "w2", 2)], {"a": state("read", "w1")})
    assert verdict.duplicated == ["a"] and not verdict.holds


@pytest.mark.parametrize(
    "states",
    [{}, {"a": state("queued")}, {"a": state("cleared")}, {"a": state("expired")}],
    ids=["no state", "still queued", "stuck before the lane", "ended without a reason"],
)
def test_a_message_that_went_nowhere_without_a_reason_is_lost(states: dict[str, dict[str, Any]]) -> None:
    verdict = judge(["a"], [], states)
    assert verdict.lost == ["a"] and not verdict.holds


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([], state("submitted", "w1")),
        ([accepted("a", "w1")], state("delivered", "w9")),
        ([accepted("a", "w1")], state("failed_unsent", reason="131026")),
        ([accepted("a", "w1")], None),
    ],
    ids=["claims what is not there", "claims another", "denies what is there", "says nothing"],
)
def test_a_projection_that_says_otherwise_than_the_ledger_is_found(
    entries: list[Accepted], found: dict[str, Any] | None
) -> None:
    verdict = judge(["a"], entries, {} if found is None else {"a": found})
    assert verdict.disagreements and not verdict.holds


def test_unknown_is_named_and_is_neither_lost_nor_a_lie() -> None:
    verdict = judge(
        ["a", "b"],
        [accepted("a", "w1")],
        {"a": state("unknown", reason="in_doubt"), "b": state("unknown", reason="in_doubt")},
    )
    assert verdict.holds
    assert (list(verdict.unknown), verdict.unknown_accepted) == (["a", "b"], 1)


def test_messages_of_others_are_counted_apart() -> None:
    assert judge([], [accepted("x", "w1")], {}).foreign == 1


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_percentiles_are_values_that_were_measured(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value
    assert percentile([], share) is None


@pytest.mark.parametrize("recipients", [1, 1000, 3500])
def test_the_audience_has_as_many_different_invented_people_as_asked(recipients: int) -> None:
    header, *rows = audience_csv(ROOT / "examples" / "audience.csv", recipients).splitlines()
    people = {row.split(",")[0] for row in rows}
    assert header.startswith("to,language")
    assert len(rows) == len(people) == recipients
    assert all(person.startswith("+9199999") and len(person) == 13 for person in people)


def test_more_people_than_the_invented_range_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        audience_csv(ROOT / "examples" / "audience.csv", 200_000)


@pytest.mark.parametrize(("kills", "points"), [(0, []), (1, [500]), (2, [200, 800]), (4, [200, 400, 600, 800])])
def test_kills_fall_into_the_middle_of_the_run(kills: int, points: list[int]) -> None:
    assert kill_points(kills, 1000) == points
