"""Another content where the first was not delivered (RTW-7): when it goes, once; and when it never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from harkara.dispatcher import watch
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.observe import count_entries
from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.senders import body_of
from harkara.graph_api.errors import OTHER_CONTENT, error_table
from tests.unit.dispatcher.fallbacks import (
    AFTER,
    MEDIA_ERROR,
    TEXT,
    Followed,
    attempts,
    falling_back,
    in_two_forms,
    plan,
    sent,
)
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TIMEOUT, iso, order, refused


@pytest.mark.req("RTW-7")
@pytest.mark.parametrize("form", ["session", "template"])
def test_the_other_content_goes_as_the_next_attempt(form: str) -> None:
    lane = sent(Followed(), falling_back(fallback=plan(form), run_id="run-1"))
    lane.says("failed", MEDIA_ERROR)
    assert lane.calls() == [(1, "template"), (2, form)]
    body = body_of(lane.state.messages["message-1"])
    assert body["biz_opaque_callback_data"] == "message-1.2"
    assert (body["text"]["body"] if form == "session" else body["template"]["name"]) in (TEXT["body"], "plain_update")
    lane.answer(ACCEPTED)
    state = lane.shown()["message-1"]
    assert (state["status"], state["attempt"]) == ("submitted", 2)
    assert lane.steps() == ["queued", "attempting", "submitted", "queued", "attempting", "submitted"]


@pytest.mark.req("RTW-7")
def test_the_lifecycle_says_why() -> None:
    lane = sent(Followed())
    lane.says("failed", MEDIA_ERROR)
    told = lane.last_reason()
    assert told.reason is not None
    assert (told.status, told.attempt, told.reason.code) == ("queued", 2, "fallback_content")
    text = "Attempt 2: the fallback content, because Meta did not deliver attempt 1: 131053 (Media upload error)."
    assert told.reason.text == text
    assert told.reason.details == {"because": "131053", "instead_of": "1"}


@pytest.mark.parametrize("code", sorted(error_table()))
def test_whether_another_content_can_mend_it_is_the_tables_word(code: int) -> None:
    lane = sent(Followed(), falling_back(fallback=plan("session")))
    lane.says("failed", code)
    assert len(lane.attempts) == (2 if OTHER_CONTENT.get(code) == "yes" else 1)
    assert len(lane.state.watches) == 0


@pytest.mark.parametrize(
    ("code", "goes"), [(131047, True), (131026, False), (131049, False), (None, False), (999_999, False)]
)
def test_codes_that_depend(code: int | None, goes: bool) -> None:
    lane = sent(Followed())
    lane.says("failed", code)
    assert len(lane.attempts) == 1 + goes


def test_an_undeliverable_person_is_tried_again_only_where_the_intent_says_so() -> None:
    lane = sent(Followed(), falling_back(fallback=plan() | {"if_undeliverable": True}))
    lane.says("failed", 131026)
    assert lane.calls() == [(1, "template"), (2, "template")]


@pytest.mark.parametrize("before", ["delivered", "read"])
def test_never_after_it_was_delivered(before: str) -> None:
    lane = sent(Followed(), falling_back(after=AFTER))
    lane.says(before)
    assert len(lane.state.watches) == 0
    lane.crash()
    lane.says("failed", MEDIA_ERROR)
    lane.round(AFTER)
    assert len(lane.attempts) == 1


def test_it_goes_after_it_was_sent() -> None:
    lane = sent(Followed())
    lane.says("sent")
    lane.says("failed", MEDIA_ERROR)
    assert len(lane.attempts) == 2


def test_at_most_one_goes() -> None:
    lane = sent(Followed())
    lane.says("failed", MEDIA_ERROR)
    lane.answer(ACCEPTED)
    lane.round(6)
    assert len(lane.state.watches) == 0
    for attempt in (1, 2, 2):
        lane.says("failed", MEDIA_ERROR, attempt)
        lane.crash()
    lane.take(falling_back())
    assert len(lane.attempts) == 2


def test_never_after_its_life() -> None:
    lane = sent(Followed(), falling_back(life=3600.0, after=AFTER))
    lane.now = START + 3600.0
    lane.says("failed", MEDIA_ERROR)
    assert (len(lane.attempts), len(lane.state.watches)) == (1, 0)


def test_a_watch_ends_with_the_messages_life() -> None:
    lane = sent(Followed(), falling_back(life=3600.0))
    assert lane.state.watches.timers.next_due() == START + 3600.0
    lane.round(3600.0)
    assert (len(lane.state.watches), lane.state.watches.timers.next_due()) == (0, None)
    lane.crash()
    assert len(lane.state.watches) == 0


def test_an_order_without_one_is_not_watched() -> None:
    lane = sent(Followed(), order())
    assert len(lane.state.watches) == 0
    lane.says("failed", MEDIA_ERROR)
    assert len(lane.attempts) == 1


@dataclass
class Committing(Followed):
    """`commits`: how long the journal was after each transaction."""

    commits: list[int] = field(default_factory=list)

    def write(self, decide: Callable[[Scribe], object]) -> list[Entry]:
        entries = super().write(decide)
        if entries:
            self.commits.append(len(self.journal))
        return entries


class TestKills:
    """A new owner goes on from whatever was committed; what was not comes again."""

    @pytest.mark.req("RTW-7")
    def test_between_any_two_transactions(self) -> None:
        whole = sent(Committing())
        whole.commits.append(len(whole.journal))
        before = len(whole.commits) - 1
        whole.says("failed", MEDIA_ERROR)
        whole.answer(ACCEPTED)
        assert len(whole.commits) - before >= 4  # decided, called, answered
        for committed in whole.commits[before:]:
            lane = Followed(journal=list(whole.journal), now=whole.now)
            lane.crash(committed)
            lane.round()
            lane.says("failed", MEDIA_ERROR)  # its offset was not committed, or it comes twice
            known = [(entry.data or {})["attempt"] for entry in lane.journal if attempts(entry)]
            assert known == [1, 2], committed
            assert lane.status() in ("attempting", "in_doubt", "submitted"), committed

    def test_watched_over_a_restart(self) -> None:
        lane = sent(Followed(), falling_back(after=AFTER))
        before = lane.state.watches.find("message-1")
        lane.crash()
        after = lane.state.watches.find("message-1")
        assert before is not None and after is not None
        assert (after.order, after.until, after.after) == (before.order, before.until, before.after)
        lane.says("failed", MEDIA_ERROR)
        assert len(lane.attempts) == 2

    def test_waiting_over_a_restart(self) -> None:
        lane = sent(Followed())
        lane.verdict(ONE, "halted")
        lane.says("failed", MEDIA_ERROR)
        assert lane.status() == "held"
        lane.crash()
        lane.verdict(ONE, "open", version=2, resumed_at=lane.now + 1)
        assert lane.calls()[-1] == (2, "template")
        assert body_of(lane.state.messages["message-1"])["template"]["name"] == "plain_update"

    def test_in_doubt_over_a_restart_and_settled_by_its_echo(self) -> None:
        lane = sent(Followed())
        lane.says("failed", MEDIA_ERROR)
        lane.crash()
        assert lane.status() == "in_doubt"
        lane.says("failed", MEDIA_ERROR)  # the first one's again
        assert lane.status() == "in_doubt"
        lane.says("sent", attempt=2)
        assert (lane.status(), len(lane.attempts)) == ("submitted", 2)

    def test_the_content_leaves_the_journal_when_its_watch_is_over(self) -> None:
        lane = sent(Followed())
        lane.says("delivered")
        newest = {entry.key: entry for entry in lane.journal}
        assert newest["message-1/w"].data is None
        assert "order" not in (newest["message-1"].data or {})


class TestOutOfOrder:
    """Statuses before answers, twice, late."""

    @pytest.mark.req("RTW-7")
    def test_the_failure_before_the_answer(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.says("failed", MEDIA_ERROR)
        lane.round(6)
        assert lane.calls() == [(1, "template"), (2, "template")]
        lane.answer(ACCEPTED, attempt=1)  # of the first, late
        assert lane.status() == "attempting"
        lane.answer(ACCEPTED, attempt=2)
        assert (lane.status(), lane.shown()["message-1"]["attempt"]) == ("submitted", 2)
        assert lane.duplicates() == []

    def test_the_failure_while_the_answer_is_in_doubt(self) -> None:
        lane = Followed()
        lane.take(falling_back(after=AFTER))
        lane.answer(TIMEOUT)
        lane.echo("another-1", 1)
        lane.round(AFTER - 1)
        assert (len(lane.attempts), len(lane.state.watches)) == (1, 0)  # nothing goes while its fate is unknown
        lane.says("failed", MEDIA_ERROR)
        assert len(lane.attempts) == 2

    def test_a_delivery_that_settles_a_doubt_leaves_nothing_to_watch(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(TIMEOUT)
        lane.says("delivered")
        assert (lane.status(), len(lane.state.watches)) == ("submitted", 0)

    def test_a_status_that_settles_a_doubt_begins_the_watch(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(TIMEOUT)
        lane.says("sent")
        assert len(lane.state.watches) == 1
        lane.round(6)
        lane.says("failed", MEDIA_ERROR)
        assert len(lane.attempts) == 2

    @pytest.mark.parametrize("status", ["sent", "failed"])
    def test_late_news_of_the_first_that_is_none(self, status: str) -> None:
        lane = sent(Followed())
        lane.verdict(ONE, "halted")
        lane.says("failed", MEDIA_ERROR)
        lane.says(status, MEDIA_ERROR)
        assert lane.status() == "held"
        lane.verdict(ONE, "open", version=2, resumed_at=lane.now + 1)
        lane.says(status, MEDIA_ERROR)
        assert lane.status() == "attempting"
        lane.answer(ACCEPTED)
        lane.says(status, MEDIA_ERROR)
        assert (lane.status(), lane.duplicates()) == ("submitted", [])

    @pytest.mark.req("RTW-7")
    def test_delivered_after_all_while_the_other_waits_withdraws_it(self) -> None:
        lane = sent(Followed())
        lane.verdict(ONE, "halted")
        lane.says("failed", MEDIA_ERROR)
        lane.says("delivered")
        lane.verdict(ONE, "open", version=2, resumed_at=lane.now + 1)
        lane.round(3600)
        state = lane.shown()["message-1"]
        assert (len(lane.attempts), state["attempts"]["2"]["status"]) == (1, "cancelled")
        assert lane.state.messages == {}

    def test_delivered_after_all_stops_a_call_that_has_not_begun(self) -> None:
        lane = sent(Followed())
        lane.says("failed", MEDIA_ERROR)
        message = lane.state.messages["message-1"]
        assert last_gate(lane.state, lane.around, message, lane.now) is None
        lane.says("delivered")
        assert last_gate(lane.state, lane.around, message, lane.now) == "seen_in_status"

    @pytest.mark.parametrize("when", ["during the call", "afterwards"])
    def test_delivered_after_all_besides_the_other_is_counted(self, when: str) -> None:
        lane = sent(Followed())
        lane.says("failed", MEDIA_ERROR)
        if when == "during the call":
            lane.says("delivered")
            lane.answer(ACCEPTED)
        else:
            lane.answer(ACCEPTED)
            lane.says("delivered")
        for _ in range(2):
            lane.says("delivered")
            lane.crash()
        assert lane.duplicates() == [1]

    def test_an_older_doubtful_attempt_forbids_it_unless_both_may_come(self) -> None:
        for duplicate_ok in (False, True):
            lane = Followed()
            lane.goes_again(falling_back(category="authentication", duplicate_ok=duplicate_ok))
            lane.answer(ACCEPTED, attempt=2)
            lane.round(6)
            lane.says("failed", MEDIA_ERROR, attempt=2)
            assert len(lane.attempts) == 2 + duplicate_ok


def test_beyond_the_bound_a_message_goes_without_one_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_WATCHED", 1)
    lane = sent(Followed())
    lane.take(falling_back("message-2"))
    lane.answer(ACCEPTED, "message-2")
    assert len(lane.state.watches) == 1
    assert lane.shown()["message-2"]["reason"]["code"] == "fallback_not_watched"
    lane.says("failed", MEDIA_ERROR, message_id="message-2")
    assert {each[0] for each in lane.attempts if each[1] == 2} == set()


def test_what_went_and_what_has_none_any_more_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(because: str) -> float:
        return REGISTRY.get_sample_value("harkara_dispatcher_fallbacks_total", {"because": because}) or 0.0

    before = counted("131053"), counted("not_watched")
    lane = sent(Followed())
    lane.says("failed", MEDIA_ERROR)
    monkeypatch.setattr(watch, "MOST_WATCHED", 0)
    lane.take(falling_back("message-2"))
    lane.answer(ACCEPTED, "message-2")
    count_entries(lane.journal)
    assert (counted("131053"), counted("not_watched")) == (before[0] + 1, before[1] + 1)


def test_a_text_that_goes_on_as_its_template_is_watched_anew() -> None:
    lane = sent(Followed(), in_two_forms(falling_back))
    lane.says("failed", 131047)
    assert lane.calls() == [(1, "session"), (2, "template")]
    assert len(lane.state.watches) == 0
    lane.answer(ACCEPTED)
    lane.round(6)
    lane.says("failed", MEDIA_ERROR, attempt=2)
    assert lane.calls() == [(1, "session"), (2, "template"), (3, "template")]
    assert body_of(lane.state.messages["message-1"])["template"]["name"] == "plain_update"


@pytest.mark.parametrize("code", [131047, MEDIA_ERROR])
def test_a_text_that_went_on_does_not_go_on_again_when_its_status_comes_again(code: int) -> None:
    """Also after a restart that reads the text's first end once more, and where a fallback went meanwhile."""
    lane = sent(Followed(), in_two_forms())
    lane.says("failed", 131047)
    lane.answer(ACCEPTED)
    lane.crash()
    lane.says("failed", code)
    lane.round(6)
    assert lane.calls() == [(1, "session"), (2, "template")]
    lane = sent(Followed(), in_two_forms(falling_back, after=60))
    lane.says("sent", message_id="another-message")
    lane.round(61)
    lane.answer(ACCEPTED)
    lane.says("failed", 131047)
    lane.round(6)
    assert lane.calls() == [(1, "session"), (2, "template")]


@pytest.mark.parametrize("status", ["failed", "sent", "delivered"])
@pytest.mark.parametrize("answered", [True, False])
def test_a_template_that_waits_for_its_text_is_ended_by_a_delivery_alone(status: str, answered: bool) -> None:
    lane = Followed()
    lane.take(in_two_forms())
    lane.answer(ACCEPTED if answered else TIMEOUT)
    lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.1", ONE, lane.now, 131047))
    again, reached = 131047 if status == "failed" else None, status == "delivered"
    lane.write(
        lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.1", ONE, lane.now, again, reached=reached)
    )  # fmt: skip
    lane.round(6)
    assert lane.calls()[1:] == ([] if reached else [(2, "template")])


def test_a_refused_template_that_meta_has_after_all_is_not_called_again() -> None:
    lane = sent(Followed(), in_two_forms())
    lane.says("failed", 131047)
    lane.answer(refused(131016, 500))
    lane.says("sent", attempt=2)
    lane.round(60)
    assert (lane.calls(), lane.status()) == ([(1, "session"), (2, "template")], "submitted")


def test_an_order_with_a_fallback_can_be_told_from_its_message() -> None:
    made = falling_back(after=AFTER, valid_until=START + 60)
    assert order_of(message_of(made, 1, None)) == made | {"expires_at": iso(START + 86_400)}
