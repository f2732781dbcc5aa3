"""quality-monitor's core: the verdict on a number, in whatever order things were said."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.event import Reason
from harkara.contracts.numbers import NumberCommand, NumberEvent, NumberState
from harkara.quality_monitor.core import (
    Facts,
    facts_of,
    first_poll_after_seconds,
    first_row,
    judge,
    next_row,
    obey,
    observe,
    second_poll_after_seconds,
)

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
NUMBER = "100000000000001"
Step = NumberEvent | NumberCommand


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def event(kind: str, seconds: float, source: str = "poll", **more: Any) -> NumberEvent:
    fields = {"phone_number_id": NUMBER, "home": "pool-a", "kind": kind, "source": source, "at": after(seconds)}
    return NumberEvent.model_validate(fields | more)


def command(kind: str, seconds: float, note: str = "", actor: str = "asha") -> NumberCommand:
    fields = {"command_id": f"c{seconds}", "phone_number_id": NUMBER, "home": "pool-a", "kind": kind}
    return NumberCommand.model_validate(fields | {"actor": actor, "note": note, "at": after(seconds)})


def facts(*steps: Step) -> Facts:
    known = Facts()
    for step in steps:
        known = observe(known, step) if isinstance(step, NumberEvent) else obey(known, step)
    return known


AVAILABLE = {"availability": "AVAILABLE"}
LIMITED = {"availability": "LIMITED"}
BLOCKED = {"availability": "BLOCKED"}
HOLD = {"hold_until": after(1800)}

CASES: list[tuple[str, list[Step], float, str]] = [
    ("nothing known", [], 0, "open"),
    ("available", [event("health", 1, **AVAILABLE)], 2, "open"),
    ("LIMITED pauses what we start", [event("health", 1, **LIMITED)], 2, "pause_proactive"),
    ("AVAILABLE ends LIMITED", [event("health", 1, **LIMITED), event("health", 2, **AVAILABLE)], 3, "open"),
    ("an unknown word ends nothing", [event("health", 1, **LIMITED), event("health", 2, availability="UNKNOWN")], 3,
     "pause_proactive"),
    ("BLOCKED halts", [event("health", 1, **BLOCKED)], 2, "halted"),
    ("AVAILABLE does not end BLOCKED", [event("health", 1, **BLOCKED), event("health", 2, **AVAILABLE)], 3, "halted"),
    ("an operator ends BLOCKED", [event("health", 1, **BLOCKED), command("resume", 2)], 3, "open"),
    ("BLOCKED again halts again", [event("health", 1, **BLOCKED), command("resume", 2), event("health", 3, **BLOCKED)],
     4, "halted"),
    ("a refused token halts", [event("halted", 1, "dispatcher")], 2, "halted"),
    ("a webhook's ban halts", [event("health", 1, "webhook", **BLOCKED)], 2, "halted"),
    ("an operator halts", [command("halt", 1)], 2, "halted"),
    ("and resumes", [command("halt", 1), command("resume", 2)], 3, "open"),
    ("a rate limit pauses", [event("rate_limited", 1, "dispatcher", **HOLD)], 1799, "paused"),
    ("until its hold has passed", [event("rate_limited", 1, "dispatcher", **HOLD)], 1800, "open"),
    ("or an operator resumes", [event("rate_limited", 1, "dispatcher", **HOLD), command("resume", 2)], 3, "open"),
    ("a pause does not hide a halt", [event("halted", 1), event("rate_limited", 2, "dispatcher", **HOLD)], 3, "halted"),
    ("RED pauses what we start", [event("quality", 1, "webhook", quality="RED")], 2, "pause_proactive"),
    ("YELLOW does not", [event("quality", 1, quality="RED"), event("health", 2, quality="YELLOW")], 3, "open"),
    ("a resume does not lift RED", [event("quality", 1, quality="RED"), command("resume", 2)], 3, "pause_proactive"),
    ("other news changes nothing", [event("throughput", 1, "webhook")], 2, "open"),
]  # fmt: skip


@pytest.mark.req("FHL-2")
@pytest.mark.parametrize(("steps", "now", "verdict"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_the_verdict(steps: list[Step], now: float, verdict: str) -> None:
    for order in (steps, steps[::-1], steps + steps):
        assert judge(facts(*order), after(now))[0] == verdict


@st.composite
def steps(draw: st.DrawFn) -> Step:
    seconds = draw(st.integers(0, 3))  # Meta's stamps are whole seconds: many words of one time
    if draw(st.booleans()):
        note = draw(st.sampled_from(["", "why"]))
        return command(
            draw(st.sampled_from(["halt", "resume"])), seconds, note, draw(st.sampled_from(["asha", "ravi"]))
        )
    reason = draw(st.sampled_from([None, Reason(code="a", text="One."), Reason(code="b", text="Another.")]))
    return event(
        draw(st.sampled_from(["health", "quality", "status", "halted", "rate_limited", "throughput", "other"])),
        seconds,
        draw(st.sampled_from(["poll", "webhook", "dispatcher"])),
        availability=draw(st.sampled_from([None, "AVAILABLE", "LIMITED", "BLOCKED", "UNKNOWN"])),
        quality=draw(st.sampled_from([None, "GREEN", "YELLOW", "RED", "UNKNOWN"])),
        hold_until=draw(st.sampled_from([None, after(seconds + 60), after(seconds + 120)])),
        connection=draw(st.sampled_from([None, "CONNECTED", "DISCONNECTED", "BANNED"])),
        messaging_limit=draw(st.sampled_from([None, -1, 250, 2000])),
        reason=reason,
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(steps(), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_any_order_and_repetition_give_the_same_facts(
    seen: list[Step], chance: random.Random, data: st.DataObject
) -> None:
    repeated = seen + data.draw(st.lists(st.sampled_from(seen), max_size=4))
    chance.shuffle(repeated)
    assert facts(*repeated) == facts(*seen)


@pytest.mark.req("WHK-6")
@pytest.mark.parametrize(
    ("name", "worst_first"),
    [
        ("availability", ["BLOCKED", "LIMITED", "AVAILABLE"]),
        ("quality", ["RED", "YELLOW", "GREEN"]),
        ("connection", ["DISCONNECTED", "BANNED", "CONNECTED"]),
        ("messaging_limit", [250, 2000, 100_000, -1]),
    ],
)
def test_of_two_notices_of_one_second_the_worse_counts_whichever_came_first(name: str, worst_first: list[Any]) -> None:
    for place, worse in enumerate(worst_first):
        for better in worst_first[place + 1 :]:
            both = [event("health", 1, "webhook", **{name: word}) for word in (better, worse)]
            assert facts(*both) == facts(*both[::-1])
            assert getattr(facts(*both), name) == worse
            later = event("health", 2, "webhook", **{name: better})
            assert getattr(facts(later, *both), name) == better, "a later word counts, be it the better one"


def test_of_two_holds_of_one_time_the_longer_counts() -> None:
    both = [event("rate_limited", 1, "dispatcher", hold_until=after(seconds)) for seconds in (60, 90)]
    for order in (both, both[::-1]):
        assert judge(facts(*order), after(2))[:2] == ("paused", after(90))


def test_the_version_grows_only_with_what_a_reader_sees() -> None:
    row = first_row(NUMBER, "pool-a", AT)
    polled = next_row(row, observe(facts_of(row), event("health", 1, **AVAILABLE)), after(1))
    assert polled is not None
    assert polled["version"] == 2
    again = next_row(polled, observe(facts_of(polled), event("health", 300, **AVAILABLE)), after(300))
    assert again is not None
    assert (again["version"], again["updated_at"]) == (2, polled["updated_at"])
    assert next_row(again, facts_of(again), after(301)) is None
    halted = next_row(again, observe(facts_of(again), event("halted", 400, "dispatcher")), after(400))
    assert halted is not None
    assert (halted["version"], halted["verdict"], halted["latched"], halted["by"]) == (3, "halted", True, "dispatcher")


def test_a_row_is_a_number_state_with_its_reason() -> None:
    row = next_row(first_row(NUMBER, "pool-a", AT), facts(command("halt", 1, "A wave of complaints.")), after(1))
    assert row is not None
    state = NumberState.model_validate(row)
    assert state.reason is not None
    assert (state.verdict, state.reason.text, state.by) == ("halted", "A wave of complaints.", "operator:asha")


def test_polls_come_soon_and_then_spread_over_an_interval() -> None:
    ids = [f"1000000000000{n:02d}" for n in range(100)]
    assert all(0 <= first_poll_after_seconds(each) < 5 for each in ids)
    second = sorted(second_poll_after_seconds(each, 300) for each in ids)
    assert second[0] >= 150
    assert second[-1] <= 450
    assert sum(value < 300 for value in second) > 25
    assert sum(value > 300 for value in second) > 25


def test_the_state_says_when_an_operator_last_resumed_the_number() -> None:
    row = first_row(NUMBER, "pool-a", AT)
    halted = next_row(row, facts(event("halted", 1, "dispatcher")), after(2))
    assert halted is not None
    assert NumberState.model_validate(halted).resumed_at is None
    resumed = next_row(halted, facts(event("halted", 1, "dispatcher"), command("resume", 3)), after(4))
    assert resumed is not None
    state = NumberState.model_validate(resumed)
    assert (state.verdict, state.resumed_at, state.version) == ("open", after(3), halted["version"] + 1)


def test_a_row_of_before_resumes_were_shown_is_written_anew() -> None:
    row = first_row(NUMBER, "pool-a", AT)
    del row["resumed_at"]
    known = next_row(row, facts(command("resume", 3)), after(4))
    assert known is not None and known["resumed_at"] is not None


@pytest.mark.req("FHL-12")
def test_a_number_is_shown_as_connected_disconnected_or_banned_by_the_newest_word() -> None:
    seen = [
        event("health", 1, connection="CONNECTED"),
        event("health", 30, "webhook", connection="BANNED", availability="BLOCKED"),
        event("quality", 31, "webhook", quality="GREEN"),
    ]
    for order in (seen, seen[::-1]):  # a webhook that Meta repeats for days overwrites nothing that was said since
        row = next_row(first_row(NUMBER, "pool-a", AT), facts(*order), after(40))
        assert row is not None and NumberState.model_validate(row).connection == "BANNED"
    later = facts(*seen, event("health", 60, connection="DISCONNECTED"))
    row = next_row(first_row(NUMBER, "pool-a", AT), later, after(61))
    assert row is not None and NumberState.model_validate(row).connection == "DISCONNECTED"


@pytest.mark.req("WHK-11")
def test_an_old_notice_never_overwrites_what_was_said_since() -> None:
    newest = facts(event("quality", 100, quality="GREEN"), event("health", 100, availability="AVAILABLE"))
    stale = event("quality", -7 * 86_400, "webhook", quality="RED", availability="LIMITED", connection="BANNED")
    known = facts(event("quality", 100, quality="GREEN"), event("health", 100, availability="AVAILABLE"), stale)
    assert (known.quality, known.availability) == (newest.quality, newest.availability) == ("GREEN", "AVAILABLE")
