"""Attempts that Meta took and did not deliver: late news of them ends nothing, and counts as no second sending."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harkara.dispatcher.plan import last_gate
from harkara.graph_api.outcome import InDoubt, NotSent, Outcome
from tests.unit.dispatcher.fallbacks import MEDIA_ERROR, Followed, falling_back, in_two_forms, plan
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, TIMEOUT, order, policy, refused

WINDOW_CLOSED = 131047
OTP = "authentication"


def by_status(lane: Followed, made: dict[str, Any] | None = None) -> None:
    lane.take(made or in_two_forms())
    lane.answer(ACCEPTED)
    lane.says("failed", WINDOW_CLOSED)


def by_a_status_before_the_answer(lane: Followed, made: dict[str, Any] | None = None) -> None:
    lane.take(made or in_two_forms())
    lane.says("failed", WINDOW_CLOSED)


def by_the_answer(lane: Followed, made: dict[str, Any] | None = None) -> None:
    lane.take(made or in_two_forms())
    lane.answer(refused(WINDOW_CLOSED))


Refusal = Callable[..., None]
every_refusal = pytest.mark.parametrize("text_is_refused", [by_status, by_a_status_before_the_answer, by_the_answer])


@every_refusal
@pytest.mark.req("B1", "RTW-2")
def test_late_news_of_the_text_does_not_stop_the_template_that_is_about_to_be_called(text_is_refused: Refusal) -> None:
    lane = Followed()
    text_is_refused(lane)
    assert lane.calls() == [(1, "session"), (2, "template")]
    lane.says("sent")
    message = lane.state.messages["message-1"]
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.answer(ACCEPTED, attempt=2)
    assert (lane.status(), lane.shown()["message-1"]["attempt"]) == ("submitted", 2)


@every_refusal
@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (TIMEOUT, "in_doubt"),
        (InDoubt("http_5xx"), "in_doubt"),
        (refused(131016, 500), "retrying"),
        (NotSent("lease"), "attempting"),
        (refused(132001), "held"),
    ],
    ids=str,
)
@pytest.mark.parametrize("when", ["during the call", "after it", "after a restart"])
def test_nor_does_it_end_the_message_whatever_becomes_of_the_template(
    text_is_refused: Refusal, outcome: Outcome, then: str, when: str
) -> None:
    lane = Followed()
    text_is_refused(lane)
    if when == "during the call":
        lane.says("sent")
    lane.answer(outcome, attempt=2)
    if when == "after a restart":
        lane.crash()
    lane.says("sent")
    assert lane.state.messages["message-1"].status in (then, "in_doubt")
    newest = lane.attempts[-1][1]
    lane.says("sent", attempt=newest)
    lane.says("sent")
    assert (lane.shown()["message-1"]["wamid"], lane.duplicates()) == (f"wamid.{newest}", [])


@every_refusal
def test_a_template_refused_for_good_fails_although_the_text_was_heard_of_again(text_is_refused: Refusal) -> None:
    lane = Followed()
    text_is_refused(lane)
    lane.says("sent")
    lane.answer(refused(131026), attempt=2)
    assert lane.shown()["message-1"]["attempts"]["2"]["status"] == "failed_unsent"
    assert any(each.dlq_reason for each in lane.emissions())


@every_refusal
@pytest.mark.parametrize("when", ["during the call", "afterwards"])
@pytest.mark.req("B1")
def test_a_text_that_was_delivered_after_all_is_a_second_one_and_counted_once(
    text_is_refused: Refusal, when: str
) -> None:
    lane = Followed()
    text_is_refused(lane)
    if when == "during the call":
        lane.says("delivered")
    lane.answer(ACCEPTED, attempt=2)
    for status in ("sent", "delivered", "read"):
        lane.says(status)
        lane.crash()
    assert lane.duplicates() == [1]


def test_the_text_of_a_message_that_was_sent_again_is_no_second_sending() -> None:
    """Attempt 1 in doubt, 2 refused for the window, 3 the template: only of the first is anything open."""
    lane = Followed()
    lane.goes_again(in_two_forms(category=OTP))
    lane.answer(ACCEPTED, attempt=2)
    lane.says("failed", WINDOW_CLOSED, attempt=2)
    lane.answer(ACCEPTED, attempt=3)
    assert lane.calls() == [(1, "session"), (2, "session"), (3, "template")]
    lane.says("sent", attempt=2)
    lane.crash()
    lane.says("sent", attempt=2)
    assert lane.duplicates() == []
    lane.says("sent", attempt=1)
    lane.says("sent", attempt=2)
    assert lane.duplicates() == [1]


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.req("RTW-2", "B4")
def test_two_texts_that_were_both_refused_leave_the_template_to_go(first: int, restart: bool) -> None:
    """Attempt 1 in doubt, 2 sent again: Meta tells of both, in either order, while their number is paused."""
    lane = Followed()
    lane.goes_again(in_two_forms(category=OTP))
    lane.answer(ACCEPTED, attempt=2)
    lane.verdict(ONE, "paused", until=lane.now + 60)
    for attempt in (first, 3 - first):
        lane.says("failed", WINDOW_CLOSED, attempt=attempt)
        if restart:
            lane.crash()
    lane.verdict(ONE, "open", version=2)
    assert lane.calls() == [(1, "session"), (2, "session"), (3, "template")]
    lane.answer(ACCEPTED, attempt=3)
    assert (lane.shown()["message-1"]["attempt"], lane.duplicates()) == (3, [])


def test_what_a_fallback_stands_in_for_stays_known_after_a_second_sending_was_counted() -> None:
    lane = Followed()
    lane.goes_again(falling_back(category=OTP, duplicate_ok=True))
    lane.answer(ACCEPTED, attempt=2)
    lane.round(6)
    lane.says("failed", MEDIA_ERROR, attempt=2)
    lane.answer(ACCEPTED, attempt=3)
    lane.says("sent", attempt=1)
    lane.says("sent", attempt=2)
    assert lane.duplicates() == [1]


class TestOlderAttempts:
    """Meta has the older one of two, and then did not deliver it."""

    @staticmethod
    def seen(status: str) -> Followed:
        """The call of attempt 2 is under way, and something was heard of attempt 1."""
        lane = Followed()
        lane.goes_again(order(category=OTP))
        lane.says(status)
        assert lane.state.messages["message-1"].seen is not None
        return lane

    @pytest.mark.req("B1", "B4")
    def test_one_that_failed_settles_nothing_any_more(self) -> None:
        lane = self.seen("sent")
        lane.says("failed", 131026)
        message = lane.state.messages["message-1"]
        assert message.seen is None
        assert last_gate(lane.state, lane.around, message, lane.now) is None
        lane.crash()
        assert lane.state.messages["message-1"].status == "in_doubt"
        lane.answer(ACCEPTED, attempt=2)
        assert (lane.status(), lane.shown()["message-1"]["wamid"], lane.duplicates()) == ("submitted", "wamid.A", [])

    @pytest.mark.parametrize("first", ["delivered", "sent"])
    def test_one_that_was_delivered_stays_so_whatever_is_told_later(self, first: str) -> None:
        lane = self.seen(first)
        lane.says("delivered")
        lane.says("failed", 131026)
        lane.answer(ACCEPTED, attempt=2)
        assert lane.duplicates() == [1]


class TestAnOperatorSaysThatItWasSent:
    """It is with Meta, and whether it was delivered is not known: it is followed like any other."""

    @staticmethod
    def said(lane: Followed, made: dict[str, Any]) -> None:
        lane.take(made)
        lane.answer(TIMEOUT)
        lane.round(901)
        assert lane.status() == "unknown"
        lane.command("resolve_in_doubt", "message-1", resolution="sent")
        assert lane.status() == "submitted"
        lane.round(6)

    @pytest.mark.req("RTW-7")
    @pytest.mark.parametrize("restart", [False, True])
    def test_its_fallback_goes_where_meta_did_not_deliver_it(self, restart: bool) -> None:
        lane = Followed(policy=policy(resent_categories=frozenset()))
        self.said(lane, falling_back())
        assert len(lane.state.watches) == 1
        if restart:
            lane.crash()
        lane.says("failed", MEDIA_ERROR)
        assert lane.calls() == [(1, "template"), (2, "template")]

    def test_nothing_follows_its_delivery(self) -> None:
        lane = Followed(policy=policy(resent_categories=frozenset()))
        self.said(lane, falling_back())
        lane.says("delivered")
        lane.says("failed", MEDIA_ERROR)
        assert (len(lane.attempts), len(lane.state.watches)) == (1, 0)

    @pytest.mark.req("RTW-2")
    def test_its_template_goes_where_the_window_was_closed(self) -> None:
        lane = Followed(policy=policy(resent_categories=frozenset()))
        self.said(lane, in_two_forms())
        lane.says("failed", WINDOW_CLOSED)
        assert lane.calls() == [(1, "session"), (2, "template")]


@every_refusal
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.req("B1", "RTW-7")
def test_nor_is_it_heard_once_a_fallback_stands_in_for_its_template_too(
    text_is_refused: Refusal, restart: bool
) -> None:
    """Attempt 1 the text, 2 its template, 3 the fallback content: neither of the first two was delivered."""
    lane = Followed()
    text_is_refused(lane, in_two_forms(falling_back, fallback=plan("session")))
    lane.answer(ACCEPTED, attempt=2)
    lane.round(6)
    lane.says("failed", MEDIA_ERROR, attempt=2)
    assert lane.calls() == [(1, "session"), (2, "template"), (3, "session")]
    if restart:
        lane.crash()
    for attempt in (1, 2):
        lane.says("sent", attempt=attempt)
    assert "message-1" in lane.state.messages
    lane.answer(ACCEPTED, attempt=3)
    for attempt in (1, 2, 3):
        lane.says("sent", attempt=attempt)
    assert (lane.shown()["message-1"]["attempt"], lane.duplicates()) == (3, [])


@pytest.mark.parametrize("waits", [True, False])
def test_a_journal_of_before_it_was_written_down_which_text_was_refused(waits: bool) -> None:
    """A new version takes the lane from an old one while the template waits for its number, or is called."""
    lane = Followed()
    lane.take(in_two_forms())
    lane.answer(ACCEPTED)
    if waits:
        lane.verdict(ONE, "paused", until=lane.now + 3600)
    lane.says("failed", WINDOW_CLOSED)
    lane.journal = [entry._replace(data=_of_before(entry.data)) for entry in lane.journal]
    lane.crash()
    lane.says("sent")
    message = lane.state.messages["message-1"]
    assert (message.status, message.attempt) == (("held", 1) if waits else ("in_doubt", 2))


def _of_before(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is None:
        return None
    return {name: _of_before(value) if name == "again" else value for name, value in data.items() if name != "refused"}
