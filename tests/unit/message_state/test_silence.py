"""What is noticed when nothing is heard of a message, when, and what explains it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.message_state.silence import DROPPED, SILENT, explanation, mark, watched
from harkara.message_state.watch import Watch
from harkara.policy.sections import Silence

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
NUMBER, OTHER = "100000000000001", "100000000000002"
RULES = Silence(status_minutes=15, number_minutes=10, time_to_live_minutes={"utility": 60})
MINUTE = timedelta(minutes=1)


def event(status: str, seconds: float = 0, message_id: str = "m-00000001", **more: Any) -> MessageLifecycle:
    at = AT + timedelta(seconds=seconds)
    fields = {"message_id": message_id, "home": "pool-a", "status": status, "at": at, "attempt": 1}
    fields |= {"phone_number_id": NUMBER, "wamid": f"w-{message_id}", "category": "utility"}
    return MessageLifecycle.model_validate(fields | more)


def state_of(*events: MessageLifecycle) -> State:
    state: State | None = None
    for each in events:
        state = advance(state, each)
    assert state is not None
    return state


def watching(*states: State) -> Watch:
    watch = Watch(RULES)
    for state in states:
        watch.note(0, None, state)
    return watch


def marked(watch: Watch, at: datetime) -> list[tuple[str, str]]:
    return [(message_id, status) for (_, message_id), status in watch.due(at)]


@pytest.mark.req("B23")
def test_a_message_without_a_status_is_due_after_the_time_and_not_before() -> None:
    watch = watching(state_of(event("submitted")))
    assert marked(watch, AT + 15 * MINUTE - timedelta(seconds=1)) == []
    assert marked(watch, AT + 15 * MINUTE) == [("m-00000001", SILENT)]


@pytest.mark.parametrize("status", ["sent", "failed", "delivered", "read"])
def test_any_status_ends_the_wait_for_the_first(status: str) -> None:
    before, after = state_of(event("submitted")), state_of(event("submitted"), event(status, 3))
    watch = watching(before)
    watch.note(0, before, after)
    assert SILENT not in dict(marked(watch, AT + 20 * MINUTE))
    assert bool(marked(watch, AT + 61 * MINUTE)) == (status == "sent"), "sent alone is not delivered"


def test_a_status_that_came_before_the_answer_is_no_silence() -> None:
    assert watched(state_of(event("delivered", 1), event("submitted", 2)), RULES) is None
    found = watched(state_of(event("sent", 1), event("submitted", 2)), RULES)
    assert found is not None and set(found.due) == {DROPPED}


def test_a_mark_is_not_due_again_and_changes_no_status() -> None:
    state = state_of(event("submitted"))
    found = watched(state, RULES)
    assert found is not None
    made = mark(state, found, SILENT, "webhook_silence")
    assert made.event.at == AT + 15 * MINUTE
    after = advance(state, made.event)
    assert (after["status"], after["attempt"], after["wamid"]) == ("submitted", 1, "w-m-00000001")
    assert advance(after, made.event) is after
    again = watched(after, RULES)
    assert again is not None and set(again.due) == {DROPPED}
    assert made == mark(state, found, SILENT, "webhook_silence"), "written again it is the same event"


def test_what_was_presumed_dropped_may_still_arrive() -> None:
    state = state_of(event("submitted"), event("sent", 1))
    found = watched(state, RULES)
    assert found is not None and found.due[DROPPED] == AT + 60 * MINUTE
    after = advance(state, mark(state, found, DROPPED, "ttl_passed").event)
    assert watched(after, RULES) is None
    assert advance(after, event("delivered", 7200))["status"] == "delivered"


def test_an_unknown_category_waits_the_longest() -> None:
    found = watched(state_of(event("submitted", category=None)), RULES)
    assert found is not None and found.due[DROPPED] == AT + timedelta(days=24)


def test_what_waits_for_us_is_not_laid_at_metas_door() -> None:
    everybody = frozenset({NUMBER, OTHER})
    for halted in (True, False):
        assert explanation(NUMBER, everybody, everybody, halted, unread=True) == "webhooks_unread"


@pytest.mark.parametrize(
    ("silent", "waiting", "halted", "code"),
    [
        ({NUMBER}, {NUMBER, OTHER}, True, "number_halted"),
        ({NUMBER}, {NUMBER, OTHER}, False, "webhook_silence"),
        ({NUMBER}, {NUMBER}, False, "webhook_silence"),
        ({NUMBER, OTHER}, {NUMBER, OTHER}, False, "provider_incident"),
        ({OTHER}, {NUMBER, OTHER}, False, "status_missing"),
    ],
)
def test_what_explains_it(silent: set[str], waiting: set[str], halted: bool, code: str) -> None:
    assert explanation(NUMBER, frozenset(silent), frozenset(waiting), halted) == code


def test_a_number_is_silent_since_it_was_heard_of_or_its_oldest_waiting_message() -> None:
    watch = watching(state_of(event("submitted")), state_of(event("submitted", 60, "m-00000002")))
    assert watch.numbers(AT + 10 * MINUTE) == {NUMBER: 600.0}
    watch.hear(event("sent", 300, message_id="m-00000009"), AT + 5 * MINUTE)
    assert watch.numbers(AT + 10 * MINUTE) == {NUMBER: 300.0}
    watch.hear(event("silent", 300), AT + 9 * MINUTE)
    assert watch.numbers(AT + 10 * MINUTE) == {NUMBER: 300.0}, "our own marks are nothing that was heard"


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["submitted", "sent", "failed", "delivered", "read"]))))
def test_a_rebuilt_watch_says_what_the_grown_one_says(steps: list[tuple[int, str]]) -> None:
    grown, states = Watch(RULES), dict[str, State]()
    for number, (message, status) in enumerate(steps):
        name = f"m-{message:08d}"
        before = states.get(name)
        states[name] = advance(before, event(status, number, name))
        if states[name] is not before:
            grown.note(0, before, states[name])
    rebuilt = Watch(RULES)
    rebuilt.rebuild((0, state) for state in states.values())
    for after in (14, 16, 70):
        assert sorted(marked(grown, AT + after * MINUTE)) == sorted(marked(rebuilt, AT + after * MINUTE))
    waiting = [name for name, state in states.items() if (w := watched(state, RULES)) and SILENT in w.due]
    assert {m for m, status in marked(grown, AT + timedelta(hours=1)) if status == SILENT} == set(waiting)
