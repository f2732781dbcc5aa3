"""Statuses against answers: whichever comes first, however late, of whichever attempt, what Meta has is not sent."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.dispatcher.evidence import FALLBACK_KEPT_SECONDS, take_echo
from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.plan import last_gate
from harkara.graph_api.outcome import InDoubt, NotSent, Outcome
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TIMEOUT, TWO, HandDriven, iso, order, policy, refused

OTP = "authentication"


def resent(lane: HandDriven) -> None:
    """Attempt 1 in doubt, no echo in time, the channel alive: attempt 2 is under way."""
    lane.take(order(category=OTP))
    lane.answer(TIMEOUT)
    lane.now += 5
    lane.echo("another-1", 1)
    lane.round(16)
    assert [each[1] for each in lane.attempts] == [1, 2]


def duplicates(lane: HandDriven) -> list[tuple[int, str]]:
    """(attempt, status) of every lifecycle event that tells of a second sending."""
    events = [each.event for each in lane.emissions() if isinstance(each.event, MessageLifecycle)]
    return [(e.attempt, e.status) for e in events if e.reason is not None and e.reason.code == "duplicate"]


@pytest.mark.req("B1", "B4")
@pytest.mark.parametrize(
    ("outcome", "newer"),
    [
        (TIMEOUT, "unknown"),
        (InDoubt("http_5xx"), "unknown"),
        (NotSent("lease"), "cancelled"),
        (NotSent("connect"), "cancelled"),
        (refused(131026), "cancelled"),
        (refused(131016, 500), "cancelled"),
        (refused(131056), "cancelled"),
    ],
    ids=str,
)
def test_an_older_echo_during_a_newer_call_settles_the_message_when_that_call_brings_nothing(
    outcome: Outcome, newer: str
) -> None:
    lane = HandDriven()
    resent(lane)
    lane.echo(attempt=1)
    assert lane.status() == "attempting"  # the call is under way: its outcome is awaited
    lane.answer(outcome, attempt=2)
    lane.round(86_400)
    assert (lane.status(), len(lane.attempts)) == ("submitted", 2)
    state = lane.shown()["message-1"]
    assert (state["attempt"], state["attempts"]["2"]["status"], state["wamid"]) == (1, newer, "wamid.E")
    assert duplicates(lane) == []


def test_an_older_echo_during_a_newer_call_that_is_accepted_is_a_duplicate() -> None:
    lane = HandDriven()
    resent(lane)
    lane.echo(attempt=1)
    lane.answer(ACCEPTED, attempt=2)
    lane.echo(attempt=1)
    assert duplicates(lane) == [(1, "submitted")]
    assert set(lane.shown()["message-1"]["attempts"]) >= {"1", "2"}


def test_an_older_echo_stops_a_newer_call_that_has_not_begun() -> None:
    lane = HandDriven()
    resent(lane)
    message = lane.state.messages["message-1"]
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.echo(attempt=1)
    assert last_gate(lane.state, lane.around, message, lane.now) == "seen_in_status"


def test_an_older_echo_survives_the_owner() -> None:
    lane = HandDriven()
    resent(lane)
    lane.echo(attempt=1)
    lane.crash()
    lane.round()
    assert lane.status() == "submitted"
    assert lane.shown()["message-1"]["attempts"]["2"]["status"] == "unknown"


def test_a_refused_token_halts_its_number_although_an_older_attempt_settled_the_message() -> None:
    lane = HandDriven()
    resent(lane)
    lane.echo(attempt=1)
    lane.answer(refused(190, 401), attempt=2)
    assert lane.status() == "submitted"
    assert ("number", ONE) in lane.state.holds


@pytest.mark.req("B1")
@pytest.mark.parametrize("first", [1, 2])
def test_a_late_echo_of_the_other_attempt_is_recorded_once_as_a_duplicate(first: int) -> None:
    lane = HandDriven()
    resent(lane)
    if first == 2:
        lane.answer(ACCEPTED, attempt=2)
    else:
        lane.answer(TIMEOUT, attempt=2)
        lane.echo(attempt=1)
    assert lane.status() == "submitted"
    other = 3 - first
    lane.round(3600)
    lane.echo(attempt=first)
    assert duplicates(lane) == []
    for _ in range(3):
        lane.echo(attempt=other)
        lane.crash()
    assert duplicates(lane) == [(other, "submitted")]


def test_a_late_failure_of_the_other_attempt_is_no_duplicate() -> None:
    lane = HandDriven()
    resent(lane)
    lane.answer(ACCEPTED, attempt=2)
    lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.F", ONE, lane.now, 131026))
    assert duplicates(lane) == []


def test_a_late_answer_of_an_older_attempt_is_evidence_too() -> None:
    lane = HandDriven()
    resent(lane)
    lane.answer(ACCEPTED, attempt=2)
    lane.answer(ACCEPTED, attempt=1)  # an owner that was thought dead
    assert duplicates(lane) == [(1, "submitted")]


def test_echoes_of_messages_sent_once_are_never_duplicates() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(131016, 500))
    lane.round(2)
    lane.answer(ACCEPTED)
    for attempt in (1, 2, 3):
        lane.echo(attempt=attempt)
    assert duplicates(lane) == []
    assert lane.state.taken == {}


def test_what_was_remembered_of_a_second_sending_is_forgotten_with_the_message() -> None:
    lane = HandDriven()
    resent(lane)
    lane.echo(attempt=1)
    lane.answer(ACCEPTED, attempt=2)
    lane.round(8 * 86_400)
    lane.round(1)
    assert (lane.state.taken, lane.state.papers) == ({}, {})
    lane.crash()
    assert (lane.state.taken, lane.state.papers) == ({}, {})


class TestTheServiceWindow:
    """131047: Meta finds the service window closed. Mostly it takes the text first and refuses it by a status."""

    @staticmethod
    def both(**more: Any) -> dict[str, Any]:
        made = order(form="session", **more)
        made["plan"].append({"phone_number_id": ONE, "form": "template"})
        return made

    @staticmethod
    def failed(lane: HandDriven, attempt: int = 1, code: int = 131047) -> None:
        lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", attempt, "wamid.F", ONE, lane.now, code))
        lane.round()

    @pytest.mark.req("RTW-2")
    def test_a_text_refused_by_a_status_goes_on_as_the_template_under_a_new_attempt(self) -> None:
        lane = HandDriven()
        lane.take(self.both(run_id="run-1"))
        lane.answer(ACCEPTED)
        lane.crash()
        self.failed(lane)
        self.failed(lane)
        assert [(each[1], each[3]) for each in lane.attempts] == [(1, "session"), (2, "template")]
        lane.answer(ACCEPTED)
        assert lane.status() == "submitted"
        assert lane.shown()["message-1"]["attempt"] == 2
        assert duplicates(lane) == []
        lane.take(self.both(run_id="run-1"))
        self.failed(lane, attempt=2)
        assert len(lane.attempts) == 2

    @pytest.mark.req("RTW-2")
    @pytest.mark.parametrize("before", [TIMEOUT, None], ids=["in doubt", "before the answer"])
    def test_so_does_one_whose_answer_was_lost_or_is_still_awaited(self, before: Outcome | None) -> None:
        lane = HandDriven()
        lane.take(self.both())
        if before is not None:
            lane.answer(before)
        self.failed(lane)
        assert [(each[1], each[3]) for each in lane.attempts] == [(1, "session"), (2, "template")]
        lane.answer(ACCEPTED, attempt=1)  # the answer of the text comes after its refusal
        assert lane.status() == "attempting"

    def test_a_crash_between_refusal_and_template_loses_nothing(self) -> None:
        lane = HandDriven()
        lane.take(self.both())
        lane.answer(ACCEPTED)
        lane.verdict(ONE, "halted")
        self.failed(lane)
        assert lane.status() == "held"
        lane.crash()
        lane.verdict(ONE, "open", version=2)
        assert lane.attempts[-1] == ("message-1", 2, ONE, "template")

    @pytest.mark.parametrize("code", [131026, 131049])
    def test_any_other_failure_is_left_to_the_messages_state(self, code: int) -> None:
        lane = HandDriven()
        lane.take(self.both())
        lane.answer(ACCEPTED)
        self.failed(lane, code=code)
        self.failed(lane)
        assert len(lane.attempts) == 1

    def test_a_text_that_was_sent_is_not_followed_any_more(self) -> None:
        lane = HandDriven()
        lane.take(self.both())
        lane.answer(ACCEPTED)
        assert set(lane.state.fallbacks) == {"message-1"}
        lane.echo()
        assert lane.state.fallbacks == {}

    def test_nor_is_one_of_which_nothing_is_heard(self) -> None:
        lane = HandDriven()
        lane.take(self.both())
        lane.answer(ACCEPTED)
        lane.round(FALLBACK_KEPT_SECONDS)
        assert lane.state.fallbacks == {}
        self.failed(lane)
        assert len(lane.attempts) == 1

    def test_a_text_without_a_template_fails_with_its_order_in_the_dlq(self) -> None:
        lane = HandDriven()
        lane.take(order(form="session"))
        lane.answer(refused(131047))
        assert lane.status() == "failed_unsent"
        assert lane.shown()["message-1"]["error_code"] == 131047
        assert any(each.dlq_reason for each in lane.emissions())

    def test_a_template_refused_so_fails_instead_of_going_round(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.answer(refused(131047))
        assert lane.status() == "failed_unsent"

    def test_a_template_may_follow_a_text_that_had_used_up_its_attempts(self) -> None:
        lane = HandDriven()
        lane.take(self.both())
        for seconds in (2, 6):
            lane.answer(refused(131016, 500))
            lane.round(seconds)
        lane.answer(refused(131047))
        assert lane.attempts[-1][3] == "template"


class TestThePolicy:
    """What the policy file may say of messages in doubt."""

    @pytest.mark.req("B1")
    @pytest.mark.parametrize("category", [OTP, "utility", "marketing", "service"])
    def test_under_the_policy_unknown_nothing_is_sent_again_by_the_clock(self, category: str) -> None:
        lane = HandDriven(policy=policy(resent_categories=frozenset()))
        lane.take(order(category=category, duplicate_ok=True, life=2 * 86_400.0))
        lane.answer(TIMEOUT)
        for _ in range(100):
            lane.now += 900
            lane.echo("another-1", 1)
        assert (lane.status(), len(lane.attempts)) == ("unknown", 1)

    def test_an_operator_may_still_wish_it(self) -> None:
        lane = HandDriven(policy=policy(resent_categories=frozenset()))
        lane.take(order(category=OTP))
        lane.answer(TIMEOUT)
        lane.round(60)
        lane.command("resolve_in_doubt", "message-1", resolution="resend")
        assert [each[1] for each in lane.attempts] == [1, 2]
        lane.answer(ACCEPTED, attempt=2)
        lane.echo(attempt=1)
        assert duplicates(lane) == [(1, "submitted")]


@pytest.mark.parametrize("form", ["session", "template"])
def test_a_messages_order_can_be_told_from_it(form: str) -> None:
    given = order(numbers=(ONE, TWO), form=form, valid_until=START + 60, run_id="run-1", duplicate_ok=True)
    assert order_of(message_of(given, 1, None)) == given | {"expires_at": iso(START + 86_400)}
