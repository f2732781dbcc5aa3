"""What a person's word means for what a lane holds for them: the last gate's view of consent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import Event
from harkara.contracts.topics import CONSENT_STATE
from harkara.dispatcher.denials import Denials
from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.plan import last_gate
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.unit.dispatcher.lanes import ONE, START, HandDriven, iso, order

PERSON = "person of message-1"
CONFIRMATION: dict[str, Any] = {"category": "service", "form": "session", "answers": iso(START), "template": None}


def said(*changes: tuple[str, float], **more: Any) -> ConsentState:
    """The state after these words at these seconds after the start."""
    state: ConsentState | None = None
    for number, (standing, seconds) in enumerate(changes):
        fields = {"event_id": f"e{number}", "person_key": PERSON, "standing": standing, "source": "operator"}
        at = datetime.fromtimestamp(START, UTC) + timedelta(seconds=seconds)
        state = advance_consent(state, ConsentEvent.model_validate(fields | {"at": at} | more))
    assert state is not None
    return state


@pytest.mark.req("CMP-2", "B10")
@pytest.mark.parametrize("form", ["session", "template"])
def test_after_the_next_opt_in_what_was_accepted_before_the_opt_out_stays_cancelled(form: str) -> None:
    lane = HandDriven()
    lane.denials[PERSON] = said(("opted_out", 5), ("opted_in", 6))
    lane.take(order(form=form), start=False)
    lane.take(order("message-2", person_key=PERSON, at=START + 7, form=form), start=False)
    lane.now += 8
    lane.round()
    assert lane.shown()["message-1"]["reason"]["code"] == "consent_opted_out"
    assert lane.status("message-1") == "cancelled" and [each[0] for each in lane.attempts] == ["message-2"]


@pytest.mark.req("CMP-8", "CMP-12", "B10")
@pytest.mark.parametrize("standing", ["opted_out", "paused", "blocked", "erased"])
def test_each_cancelled_message_says_why_in_words(standing: str) -> None:
    lane = HandDriven()
    lane.denials[PERSON] = said((standing, 0))
    lane.take(order())
    reason = lane.shown()["message-1"]["reason"]
    assert lane.status() == "cancelled" and reason["code"] == f"consent_{standing}"
    assert " " in reason["text"] and reason["text"].endswith(".") and reason["rule"] == "compliance.consent"


@pytest.mark.req("CMP-5")
@pytest.mark.parametrize(
    ("standing", "answers"), list(product(["opted_out", "paused", "blocked", "erased"], [True, False]))
)
def test_a_confirmation_goes_out_to_whoever_is_not_blocked(standing: str, answers: bool) -> None:
    lane = HandDriven()
    lane.denials[PERSON] = said((standing, 1))
    lane.take(order(**(CONFIRMATION | ({} if answers else {"answers": None}))))
    goes = answers and standing != "blocked"
    assert len(lane.attempts) == (1 if goes else 0)
    if goes:
        message = lane.state.messages["message-1"]
        assert last_gate(lane.state, lane.around, message, lane.now) is None
    else:
        assert lane.status() == "cancelled"


def test_a_confirmation_stays_one_over_a_crash_and_in_the_order_that_is_kept_of_it() -> None:
    lane = HandDriven()
    lane.denials[PERSON] = said(("opted_out", 1))
    lane.take(order(**CONFIRMATION), start=False)
    lane.crash()
    assert lane.state.messages["message-1"].answers
    lane.round()
    assert len(lane.attempts) == 1
    kept = order_of(message_of(order(**CONFIRMATION), 1, None))
    assert kept["answers"] == iso(START) and message_of(kept, 2, None).answers


def test_who_opted_in_again_is_kept_for_what_was_cancelled_and_who_never_refused_is_not() -> None:
    told: list[str] = []
    denials = Denials(ServiceSettings(service="t", kafka=KafkaSettings()), told.append)

    def apply(event: Event | None) -> None:
        denials._apply(CONSENT_STATE, PERSON, event)

    apply(said(("opted_in", 1)))
    assert not denials.by_person and not told
    apply(said(("opted_out", 1)))
    apply(said(("opted_out", 1), ("opted_in", 2)))
    held = denials.by_person[PERSON]
    assert held.denies("marketing", datetime.now(UTC)) is None
    assert held.revoked("marketing", datetime.fromtimestamp(START, UTC))
    assert not held.revoked("marketing", datetime.fromtimestamp(START + 2, UTC))
    assert told == [PERSON, PERSON]
    apply(None)
    assert not denials.by_person


def test_a_cancelled_message_leaves_its_numbers_queue_at_once() -> None:
    """As the shell does when the word comes: what waits is looked at in the next round, not when its turn comes."""
    lane = HandDriven(capacity=1)
    lane.take(order("message-0"), *(order(f"message-{n}", person_key=PERSON) for n in range(1, 9)))
    assert len(lane.attempts) == 1
    lane.denials[PERSON] = said(("opted_out", 1))
    for message in lane.state.recipients.of(PERSON):
        lane.state.unplaced.add(message)
    lane.round(0.1)
    assert {lane.status(f"message-{n}") for n in range(1, 9)} == {"cancelled"}
    assert lane.state.tally(ONE, "queued") == 0
