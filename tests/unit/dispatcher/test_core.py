"""A message's way through the lane, decision by decision."""

from __future__ import annotations

import pytest

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import ConsentState
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.graph_api.outcome import Outcome
from tests.unit.dispatcher.lanes import (
    ACCEPTED,
    LEASE,
    ONE,
    START,
    THREE,
    TIMEOUT,
    TWO,
    HandDriven,
    iso,
    order,
    policy,
    refused,
)

W_UTILITY = 900.0


def test_an_order_is_called_once_and_submitted() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(ACCEPTED)
    assert lane.steps() == ["queued", "attempting", "submitted"]
    assert lane.shown()["message-1"]["wamid"] == "wamid.A"
    assert lane.shown()["message-1"]["phone_number_id"] == ONE


def test_the_same_order_again_is_nothing_whether_it_lives_or_has_ended() -> None:
    lane = HandDriven()
    lane.take(order(), order())
    lane.answer(ACCEPTED)
    lane.take(order())
    lane.crash()
    lane.take(order())
    assert len(lane.attempts) == 1
    assert lane.steps() == ["queued", "attempting", "submitted"]


@pytest.mark.parametrize("ended", [False, True])
def test_the_same_id_with_another_intent_is_refused_and_changes_nothing(ended: bool) -> None:
    lane = HandDriven()
    lane.take(order())
    if ended:
        lane.answer(ACCEPTED)
    lane.take(order(intent_hash="another"))
    told = [e.event for e in lane.emissions() if isinstance(e.event, MessageLifecycle)][-1]
    assert told.status == "rejected"
    assert told.reason is not None and told.reason.code == "idempotency_conflict"
    assert lane.status() == ("submitted" if ended else "attempting")
    assert len(lane.attempts) == 1


@pytest.mark.parametrize("message_id", ["message-1", "priority", "throttle"])  # two begin other keys of the journal
def test_a_message_is_remembered_for_seven_days_and_then_forgotten(message_id: str) -> None:
    lane = HandDriven()
    lane.take(order(message_id))
    lane.answer(ACCEPTED, message_id)
    lane.round(6.9 * 86_400)
    lane.take(order(message_id, at=lane.now))
    assert len(lane.attempts) == 1
    lane.round(86_400)
    assert {entry.key for entry in lane.journal if entry.data is None} == {message_id, f"{message_id}/s"}
    lane.crash()
    assert len(lane.state.horizon) == 0


def test_a_scheduled_message_waits_for_its_time() -> None:
    lane = HandDriven()
    lane.take(order(not_before=iso(START + 60)))
    assert lane.status() == "scheduled"
    lane.round(59)
    assert lane.attempts == []
    lane.round(1.1)
    assert lane.steps() == ["scheduled", "queued", "attempting"]


def test_a_message_past_its_deadline_expires_and_is_not_called() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "halted")
    lane.take(order(life=30.0))
    lane.round(30.1)
    assert lane.steps() == ["queued", "held", "expired"]
    assert lane.attempts == []


def test_higher_priorities_take_the_next_slot_and_equals_keep_their_order() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-0"))
    lane.take(order("message-1"), order("message-2"), order("message-3", priority=2), order("message-4", priority=3))
    for number in range(5):
        lane.answer(ACCEPTED, lane.attempts[number][0])
    assert [each[0][-1] for each in lane.attempts] == ["0", "4", "3", "1", "2"]


def test_messages_under_way_never_exceed_the_connections() -> None:
    lane = HandDriven(capacity=3)
    lane.take(*(order(f"message-{n}") for n in range(10)))
    assert len(lane.under_way) == 3


def test_a_person_who_opted_out_after_the_guard_is_not_called() -> None:
    lane = HandDriven()
    word = {"standing": "opted_out", "at": iso(START), "event_id": "e1"}
    lane.denials["person of message-1"] = ConsentState.model_validate(
        {"person_key": "person of message-1", "marketing": word}
    )
    lane.take(order(category="marketing"), order("message-2", category="utility"))
    assert lane.status() == "cancelled"
    assert lane.shown()["message-1"]["reason"]["code"] == "consent_opted_out"
    assert [each[0] for each in lane.attempts] == ["message-2"]


@pytest.mark.parametrize(
    ("kind", "target"),
    [("cancel_message", "message-1"), ("cancel_run", "run-1"), ("cancel_recipient", "person of message-1")],
)
def test_a_cancel_stops_what_waits_and_what_arrives_later_with_an_older_intent(kind: str, target: str) -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-0"), order(run_id="run-1"))
    lane.now += 10
    lane.command(kind, target)
    assert lane.status() == "cancelled"
    lane.crash()
    if kind != "cancel_message":
        lane.take(order("message-2", run_id="run-1", person_key="person of message-1"))
        assert lane.status("message-2") == "cancelled"
        lane.take(order("message-3", run_id="run-1", person_key="person of message-1", at=lane.now + 1), start=False)
        lane.answer(ACCEPTED, "message-0")
        assert lane.attempts[-1][0] == "message-3"
    assert [each.event.actor for each in lane.emissions() if isinstance(each.event, AuditRecord)].count("asha") == 1


def test_a_cancel_of_what_has_not_arrived_is_remembered_for_seven_days() -> None:
    lane = HandDriven()
    lane.command("cancel_message", "message-1")
    lane.crash()
    lane.take(order(at=START - 5))
    assert lane.steps() == ["queued", "cancelled"]
    lane.round(7 * 86_400 + 1)
    assert lane.state.cancels == {}
    lane.crash()
    assert lane.state.cancels == {}


def test_a_halted_number_sends_by_the_next_candidate() -> None:
    lane = HandDriven(capacity=5)
    lane.take(*(order(f"message-{n}", (ONE, TWO)) for n in range(30)))
    assert {each[2] for each in lane.attempts} == {ONE}
    lane.verdict(ONE, "halted")
    for message_id, attempt, number, _ in list(lane.attempts):
        if number == ONE:
            lane.answer(ACCEPTED, message_id, attempt)
    while lane.under_way:
        lane.answer(ACCEPTED, *lane.under_way[0])
    by_number = {number: sum(each[2] == number for each in lane.attempts) for number in (ONE, TWO)}
    assert by_number == {ONE: 5, TWO: 25}
    assert len({each[0] for each in lane.attempts}) == 30


def test_without_another_candidate_messages_are_held_until_the_number_opens() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "paused", until=START + 600)
    lane.take(order())
    assert lane.shown()["message-1"]["reason"]["code"] == "number_paused"
    lane.verdict(ONE, "open", version=2)
    assert lane.steps() == ["queued", "held", "queued", "attempting"]


def test_a_pause_ends_by_its_own_time() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "paused", until=START + 600)
    lane.take(order())
    lane.round(600.1)
    assert lane.attempts


def test_a_proactive_pause_lets_only_answers_in_open_windows_go() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "pause_proactive")
    lane.take(order("message-1"), order("message-2", form="session"))
    assert [(each[0], each[3]) for each in lane.attempts] == [("message-2", "session")]
    assert lane.status("message-1") == "held"


def test_a_closed_window_takes_the_next_candidate_or_fails() -> None:
    lane = HandDriven(capacity=1)
    both = order("message-1", form="session", valid_until=START + 10)
    both["plan"].append({"phone_number_id": ONE, "form": "template"})
    lane.take(order("message-0"), both, order("message-2", form="session", valid_until=START + 10))
    lane.now += 11
    lane.answer(ACCEPTED, "message-0")
    lane.answer(ACCEPTED, "message-1")
    assert lane.attempts[-1][0::3] == ("message-1", "template")
    assert lane.status("message-2") == "failed_unsent"
    assert lane.shown()["message-2"]["reason"]["code"] == "window_closed"


def test_a_number_of_another_home_is_not_called_from_here() -> None:
    lane = HandDriven()
    lane.take(order(home="pool-b"))
    assert lane.status() == "held"
    assert lane.shown()["message-1"]["reason"]["code"] == "number_of_another_home"


class TestInDoubt:
    """No answer, or an answer that does not say: never sent again but by the category's policy."""

    @pytest.mark.parametrize("category", ["marketing", "service", "utility"])
    def test_it_becomes_unknown_by_the_clock_and_is_not_sent_again(self, category: str) -> None:
        lane = HandDriven()
        lane.take(order(category=category))
        lane.answer(TIMEOUT)
        assert lane.status() == "in_doubt"
        lane.round(86_401)
        assert lane.status() == "unknown"
        assert len(lane.attempts) == 1

    def test_a_crash_between_journal_and_answer_is_in_doubt(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.crash()
        lane.round(1)
        assert lane.status() == "in_doubt"
        assert lane.shown()["message-1"]["reason"]["code"] == "owner_lost"
        assert len(lane.attempts) == 1

    def test_an_echo_settles_it(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.answer(TIMEOUT)
        lane.echo()
        lane.round(86_400)
        assert lane.status() == "submitted"
        assert lane.shown()["message-1"]["wamid"] == "wamid.E"
        assert len(lane.attempts) == 1

    def test_an_echo_before_the_answer_is_the_answer(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.echo()
        lane.answer(TIMEOUT)
        assert lane.steps() == ["queued", "attempting", "submitted"]

    def test_an_echo_after_unknown_still_wins(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.answer(TIMEOUT)
        lane.round(W_UTILITY + 1)
        assert lane.status() == "unknown"
        lane.echo()
        assert lane.status() == "submitted"

    def test_a_late_answer_settles_what_a_new_owner_put_in_doubt(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.crash()
        lane.answer(ACCEPTED)
        assert lane.status() == "submitted"

    @pytest.mark.parametrize(
        ("answer", "status", "calls"),
        [(refused(131026), "failed_unsent", 1), (LEASE, "attempting", 2), (TIMEOUT, "in_doubt", 1)],
    )
    def test_so_does_one_that_says_that_meta_has_nothing(self, answer: Outcome, status: str, calls: int) -> None:
        """Of a call of before, that this process made, or of one that was not begun any more."""
        lane = HandDriven()
        lane.take(order())
        lane.crash()
        lane.answer(answer)
        lane.round(6)
        assert (lane.status(), len(lane.attempts)) == (status, calls)

    @pytest.mark.parametrize("answer", [refused(131026), LEASE, TIMEOUT])
    def test_a_late_answer_of_an_older_attempt_says_nothing_of_the_newer_one(self, answer: Outcome) -> None:
        """Another owner has sent it again meanwhile."""
        lane = HandDriven()
        lane.take(order(category="service"))
        lane.crash()
        lane.command("resolve_in_doubt", "message-1", resolution="resend")
        lane.round(15)
        lane.answer(answer, attempt=1)
        assert (lane.status(), len(lane.attempts)) == ("attempting", 2)
        lane.answer(ACCEPTED, attempt=2)
        assert (lane.status(), lane.shown()["message-1"]["attempt"]) == ("submitted", 2)

    def test_authentication_is_sent_again_once_where_echoes_would_come(self) -> None:
        lane = HandDriven()
        lane.take(order(category="authentication"))
        lane.answer(TIMEOUT)
        lane.now += 5
        lane.echo("another-1", 1)  # a status of the same account shows that the channel lives
        lane.round(16)
        assert [each[1] for each in lane.attempts] == [1, 2]
        lane.answer(TIMEOUT)
        lane.echo("another-2", 1)
        lane.round(21)
        assert [each[1] for each in lane.attempts] == [1, 2]
        assert lane.status() == "unknown"

    def test_authentication_is_not_sent_again_where_no_status_comes(self) -> None:
        lane = HandDriven()
        lane.take(order(category="authentication"))
        lane.answer(TIMEOUT)
        lane.round(21)
        assert len(lane.attempts) == 1
        assert lane.status() == "unknown"

    def test_utility_is_sent_again_only_where_the_intent_allows_it(self) -> None:
        lane = HandDriven()
        lane.take(order(duplicate_ok=True))
        lane.answer(TIMEOUT)
        lane.now += W_UTILITY - 1
        lane.echo("another-1", 1)
        lane.round(2)
        assert len(lane.attempts) == 2

    def test_a_cancel_forbids_the_resend(self) -> None:
        lane = HandDriven()
        lane.take(order(category="authentication"))
        lane.answer(TIMEOUT)
        lane.echo("another-1", 1)
        lane.command("cancel_message", "message-1")
        lane.round(21)
        assert len(lane.attempts) == 1

    def test_an_echo_of_the_older_attempt_takes_back_the_resend_that_has_not_begun(self) -> None:
        lane = HandDriven(capacity=0)
        lane.fleet[ONE] = HandDriven(capacity=1).fleet[ONE]
        lane.take(order(category="authentication"))
        lane.answer(TIMEOUT)
        lane.verdict(ONE, "paused", until=lane.now + 600)
        lane.now += 5
        lane.echo("another-1", 1)
        lane.round(16)
        assert lane.status() == "held"
        lane.echo()
        lane.verdict(ONE, "open", version=2)
        assert lane.status() == "submitted"
        assert len(lane.attempts) == 1

    @pytest.mark.parametrize(
        ("resolution", "status", "calls"),
        [("sent", "submitted", 1), ("drop", "unknown", 1), ("resend", "attempting", 2)],
    )
    def test_an_operator_resolves_it_once(self, resolution: str, status: str, calls: int) -> None:
        lane = HandDriven()
        lane.take(order(category="service"))
        lane.answer(TIMEOUT)
        lane.round(61)
        lane.command("resolve_in_doubt", "message-1", resolution=resolution, command_id="c1")
        assert lane.status() == status
        lane.crash()
        lane.command("resolve_in_doubt", "message-1", resolution="resend", command_id="c1")
        assert len(lane.attempts) == calls
        actors = [each.event.actor for each in lane.emissions() if isinstance(each.event, AuditRecord)]
        assert actors.count("asha") == 1

    def test_an_operators_resend_waits_until_the_old_call_has_surely_ended(self) -> None:
        lane = HandDriven()
        lane.take(order(category="service"))
        lane.crash()
        lane.command("resolve_in_doubt", "message-1", resolution="resend")
        assert len(lane.attempts) == 1
        lane.round(14.1)  # lease 2 s, request 10 s, margin 2 s
        assert len(lane.attempts) == 2

    def test_after_a_recovery_echoes_get_time_to_be_read(self) -> None:
        lane = HandDriven()
        lane.take(order())
        lane.answer(TIMEOUT)
        lane.now += 2 * W_UTILITY
        lane.crash()
        lane.round(1)
        assert lane.status() == "in_doubt"
        lane.round(10)
        assert lane.status() == "unknown"


def test_a_call_that_lost_its_lease_goes_back_to_its_place_under_a_new_attempt() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(LEASE)
    assert lane.steps() == ["queued", "attempting", "queued", "attempting"]
    assert [each[1] for each in lane.attempts] == [1, 2]


def test_a_cancelled_attempt_that_was_not_sent_ends_cancelled() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.command("cancel_message", "message-1")
    assert lane.status() == "attempting"
    lane.answer(LEASE)
    assert lane.status() == "cancelled"


def test_messages_of_a_pool_go_where_their_plan_begins() -> None:
    lane = HandDriven(policy=policy())
    lane.take(order("message-1", (THREE, ONE)), order("message-2", (ONE, THREE)))
    assert sorted((each[0], each[2]) for each in lane.attempts) == [("message-1", THREE), ("message-2", ONE)]


def test_a_refusal_then_silence_is_not_counted_as_sent() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(131016, 500))
    lane.round(2)
    lane.answer(TIMEOUT)
    lane.round(W_UTILITY + 1)
    assert lane.status() == "unknown"
