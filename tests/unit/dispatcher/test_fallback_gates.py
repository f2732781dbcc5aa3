"""What stops a fallback content, when it goes at the call's own refusal, and when nothing is heard (RTW-7)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.dispatcher import fallback as fallbacks
from harkara.dispatcher.evidence import take_echo
from tests.unit.dispatcher.fallbacks import AFTER, MEDIA_ERROR, PERSON, Followed, attempts, falling_back, plan, sent
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TWO, order, refused


class TestWhatStopsIt:
    """Every gate of an attempt is asked of it too."""

    @pytest.mark.parametrize(
        ("kind", "target"),
        [("cancel_message", "message-1"), ("cancel_run", "run-1"), ("cancel_recipient", PERSON)],
    )
    def test_a_cancel_while_it_is_watched(self, kind: str, target: str) -> None:
        lane = sent(Followed(), falling_back(run_id="run-1"))
        lane.command(kind, target)
        lane.crash()
        lane.says("failed", MEDIA_ERROR)
        assert (lane.second(), len(lane.attempts)) == (("cancelled", "cancelled"), 1)

    @pytest.mark.req("RTW-7")
    def test_an_opt_out_while_it_is_watched(self) -> None:
        lane = sent(Followed())
        at = datetime.fromtimestamp(lane.now, UTC)
        word = {"event_id": "e1", "person_key": PERSON, "standing": "opted_out", "source": "operator", "at": at}
        lane.denials[PERSON] = advance_consent(None, ConsentEvent.model_validate(word))
        lane.says("failed", MEDIA_ERROR)
        assert (lane.second(), len(lane.attempts)) == (("cancelled", "consent_opted_out"), 1)

    def test_a_window_that_has_closed(self) -> None:
        lane = sent(Followed(), falling_back(fallback=plan("session", until=START + 60)))
        lane.now = START + 60
        lane.says("failed", MEDIA_ERROR)
        assert (lane.second(), len(lane.attempts)) == (("failed_unsent", "window_closed"), 1)

    def test_a_window_that_meta_says_is_closed_takes_no_text(self) -> None:
        lane = sent(Followed(), falling_back(fallback=plan("session")))
        lane.says("failed", 131047)
        assert len(lane.attempts) == 1

    def test_the_pace_to_one_person(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(ACCEPTED)
        for _ in range(45):
            lane.state.number(ONE).pairs.note(PERSON, lane.now)
        lane.says("failed", MEDIA_ERROR)
        assert (len(lane.attempts), lane.status()) == (1, "queued")
        lane.round(lane.state.number(ONE).pairs.next_at(PERSON) - lane.now)
        assert len(lane.attempts) == 2

    def test_a_number_of_its_plan_that_is_halted_sends_by_the_next(self) -> None:
        both = plan() | {"plan": [{"phone_number_id": n, "form": "template"} for n in (ONE, TWO)]}
        lane = sent(Followed(), falling_back(fallback=both))
        lane.verdict(ONE, "halted")
        lane.says("failed", MEDIA_ERROR)
        assert lane.attempts[-1] == ("message-1", 2, TWO, "template")


class TestRefusedAtOnce:
    """The same codes in the answer to the call."""

    @pytest.mark.req("RTW-7")
    @pytest.mark.parametrize("code", [MEDIA_ERROR, 132000, 132012])
    def test_the_other_content_goes(self, code: int) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(refused(code))
        lane.round(6)
        assert lane.calls() == [(1, "template"), (2, "template")]
        assert lane.steps() == ["queued", "attempting", "failed_unsent", "queued", "attempting"]
        assert not any(each.dlq_reason for each in lane.emissions())
        lane.answer(ACCEPTED)
        assert lane.status() == "submitted"

    @pytest.mark.parametrize("code", [131026, 131049, 131050, 130472, 131021])
    def test_what_no_content_mends_fails(self, code: int) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(refused(code))
        lane.round(6)
        assert (lane.status(), len(lane.attempts)) == ("failed_unsent", 1)
        assert any(each.dlq_reason for each in lane.emissions())

    def test_the_other_content_refused_too_fails_with_its_order_in_the_dlq(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(refused(132000))
        lane.round(6)
        lane.answer(refused(132000))
        lane.round(6)
        assert (lane.status(), len(lane.attempts)) == ("failed_unsent", 2)
        [letter] = [each.event for each in lane.emissions() if each.dlq_reason]
        assert (letter.template.name, letter.redrive, letter.fallback) == ("plain_update", 2, None)  # type: ignore[attr-defined]
        lane.take(letter.model_dump(mode="json", exclude_none=True))
        assert lane.calls()[-1] == (3, "template")

    def test_a_paused_template_is_waited_for(self) -> None:
        lane = Followed()
        lane.take(falling_back())
        lane.answer(refused(132015))
        assert lane.status() == "held"

    def test_the_owner_lost_after_the_refusal(self) -> None:
        whole = Followed()
        whole.take(falling_back())
        whole.answer(refused(132000))
        whole.crash()
        whole.round(6)
        assert {(entry.data or {})["attempt"] for entry in whole.journal if attempts(entry)} == {1, 2}


class TestWithoutNews:
    """Nothing was delivered in the time that the intent names."""

    @pytest.mark.req("RTW-7")
    def test_it_goes_then(self) -> None:
        lane = sent(Followed(), falling_back(after=AFTER))
        lane.echo("another-1", 1)
        lane.round(AFTER - 7)
        assert len(lane.attempts) == 1
        lane.round(2)
        assert len(lane.attempts) == 2
        told = lane.last_reason().reason
        assert told is not None
        assert told.text == "Attempt 2: the fallback content, because attempt 1 was not delivered in 600 seconds."
        lane.answer(ACCEPTED)
        lane.says("sent")
        assert lane.duplicates() == []  # that Meta had both was known
        lane.says("delivered")
        assert lane.duplicates() == [1]

    def test_also_over_a_restart(self) -> None:
        lane = sent(Followed(), falling_back(after=AFTER))
        lane.crash()
        lane.echo("another-1", 1)
        lane.round(AFTER)
        assert len(lane.attempts) == 2

    def test_not_while_no_status_comes_at_all(self) -> None:
        lane = sent(Followed(), falling_back(after=AFTER))
        lane.round(AFTER)
        lane.round(3600)
        assert len(lane.attempts) == 1
        lane.echo("another-1", 1)
        lane.round(fallbacks.QUIET_LOOK_SECONDS)
        assert len(lane.attempts) == 2

    def test_its_own_status_of_the_same_second_is_a_sign_of_life(self) -> None:
        lane = Followed(now=START + 0.4)
        lane.take(falling_back(after=AFTER))
        lane.answer(ACCEPTED)
        lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.1", ONE, START))
        lane.round(AFTER)
        assert len(lane.attempts) == 2

    def test_not_where_the_person_must_not_get_both(self) -> None:
        lane = sent(Followed(), order(fallback=plan() | {"after_seconds": AFTER}))
        lane.echo("another-1", 1)
        lane.round(AFTER)
        assert len(lane.attempts) == 1

    def test_a_failure_that_no_content_mends_ends_it(self) -> None:
        lane = sent(Followed(), falling_back(after=AFTER))
        lane.says("failed", 131049)
        lane.echo("another-1", 1)
        lane.round(AFTER)
        assert (len(lane.attempts), len(lane.state.watches)) == (1, 0)
