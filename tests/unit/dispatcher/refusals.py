"""One way to every reason for which a lane holds or ends a message: lanes in which `message-1` has just come to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.contracts.portfolios import PortfolioLease
from harkara.contracts.template_state import TemplateStatus
from harkara.dispatcher.horizon import HORIZON_SECONDS
from harkara.dispatcher.wordings import TemplateWord
from harkara.graph_api.outcome import Accepted, NotSent
from harkara.policy.template_values import Taken
from tests.unit.dispatcher.lanes import HOME, ONE, START, THREE, TIMEOUT, HandDriven, iso, order, refused

HOUR = 3600.0
PERSON = "person of message-1"
TEMPLATE = "waba-1/daily_update:en"
PORTFOLIO = "portfolio-1"


def _order(hand: HandDriven, **more: Any) -> HandDriven:
    hand.take(order(**more))
    return hand


def _cancelled() -> HandDriven:
    lane = HandDriven()
    lane.command("cancel_recipient", PERSON)
    return _order(lane)


def after_a_word(standing: str) -> Callable[[], HandDriven]:
    """A lane that knows such a word of the person's."""

    def made() -> HandDriven:
        lane, at = HandDriven(), datetime.fromtimestamp(START - HOUR, UTC)
        fields = {"event_id": "e1", "person_key": PERSON, "standing": standing, "source": "keyword", "at": at}
        until = {"until": datetime.fromtimestamp(START + HOUR, UTC)} if standing == "paused" else {}
        lane.denials[PERSON] = advance_consent(None, ConsentEvent.model_validate(fields | until))
        return _order(lane)

    return made


def _expired() -> HandDriven:
    lane = HandDriven()
    lane.verdict(ONE, "halted")
    _order(lane, life=HOUR)
    lane.round(HOUR)
    return lane


def _hours(*spans: tuple[float, float]) -> Callable[[], HandDriven]:
    hours = [{"start": iso(START + start), "end": iso(START + end)} for start, end in spans]
    return lambda: _order(HandDriven(), hours=hours)


def _paused_run() -> HandDriven:
    lane = HandDriven()
    lane.command("pause_run", "run-1")
    return _order(lane, run_id="run-1")


def _verdict(verdict: Any, until: float | None = None) -> Callable[[], HandDriven]:
    def made() -> HandDriven:
        lane = HandDriven()
        lane.verdict(ONE, verdict, until=until)
        return _order(lane)

    return made


def _fleet(**more: Any) -> HandDriven:
    """The number as governance.yaml and its token make it."""
    lane = HandDriven()
    lane.fleet[ONE] = replace(lane.fleet[ONE], **more)
    return _order(lane)


def _unknown_number() -> HandDriven:
    lane = HandDriven()
    del lane.fleet[ONE]
    return _order(lane)


def _token_refused() -> HandDriven:
    lane = _order(HandDriven(), numbers=(THREE,))
    for n in range(3):
        lane.answer(refused(190, 401))
        lane.now += 60
        lane.verdict(THREE, "open", version=n + 2, resumed_at=lane.now)
    return lane


def _template(
    status: TemplateStatus, category: Any = "UTILITY", until: float | None = None
) -> Callable[[], HandDriven]:
    def made() -> HandDriven:
        lane = HandDriven()
        lane.around.templates = {TEMPLATE: TemplateWord(1, status, START - HOUR, until, category)}
        return _order(lane)

    return made


def _assessed() -> HandDriven:
    """Meta took a message of the template and holds it."""
    lane = _order(HandDriven(), message_id="message-0")
    lane.answer(Accepted("wamid.0", message_status="held_for_quality_assessment"), "message-0")
    return _order(lane)


def _spared() -> HandDriven:
    """Meta keeps marketing from the message's person."""
    lane = _order(HandDriven(), message_id="message-0", category="marketing", person_key="somebody")
    lane.answer(refused(131049), "message-0")
    return _order(lane, category="marketing", person_key="somebody")


def _edited() -> HandDriven:
    """Meta's template takes two values now."""
    lane, takes = HandDriven(), Taken(False, None, 0, ("1", "2"), (), None)
    lane.around.templates = {TEMPLATE: TemplateWord(1, "APPROVED", START - HOUR, None, "UTILITY", takes)}
    return _order(lane)


def _portfolio(lease: dict[str, Any], silent_seconds: float = 0.0, **more: Any) -> Callable[[], HandDriven]:
    """A lane of a portfolio, of which the ledger has said this."""

    def made() -> HandDriven:
        lane = HandDriven()
        lane.fleet[ONE] = replace(lane.fleet[ONE], portfolio_id=PORTFOLIO, limited=True)
        said = {"portfolio_id": PORTFOLIO, "version": 1, "at": iso(START), "limit": 250, "used": 250}
        lane.around.leases.take(PortfolioLease.model_validate(said | lease))
        _order(lane, **more)
        units = lane.state.places.of((PORTFOLIO, HOME))
        units.target, units.asked_at = 5, lane.now
        lane.state.look_again(ONE)
        lane.round(silent_seconds)
        return lane

    return made


def _conflict() -> HandDriven:
    return _order(_order(HandDriven()), intent_hash="another")


def _unsayable() -> HandDriven:
    lane = _order(HandDriven())
    lane.answer(NotSent("invalid"))
    return lane


def _no_echo() -> HandDriven:
    lane = _order(HandDriven(), category="marketing")
    lane.answer(TIMEOUT)
    lane.round(86_400.0)
    return lane


def _number_lost() -> HandDriven:
    """Its time in doubt is over, statuses come, and the number of its first attempt is halted."""
    lane = HandDriven()
    lane.state.accounts = {number: facts.waba_id for number, facts in lane.fleet.items()}
    _order(lane, category="authentication").answer(TIMEOUT)
    lane.verdict(ONE, "halted")
    lane.now += 30.0
    lane.state.heard_of(ONE, lane.now - 1, lane.now)
    lane.round()
    return lane


def _unresolved() -> HandDriven:
    lane = _no_echo()
    lane.round(HORIZON_SECONDS)
    return lane


def _dropped() -> HandDriven:
    lane = _no_echo()
    lane.command("resolve_in_doubt", "message-1", resolution="drop")
    return lane


def _refused(code: int, times: int = 1) -> Callable[[], HandDriven]:
    def made() -> HandDriven:
        lane = _order(HandDriven())
        for _ in range(times):
            lane.answer(refused(code, 400))
            lane.round(HOUR)
        return lane

    return made


def _held_by_a_refusal() -> HandDriven:
    lane = _order(HandDriven())
    lane.answer(refused(131048))
    return lane


def _pair_held() -> HandDriven:
    lane = _order(HandDriven(), message_id="message-0", person_key=PERSON)
    lane.answer(refused(131056), "message-0")
    return _order(lane)


WAYS_THERE: dict[str, Callable[[], HandDriven]] = {
    "cancelled": _cancelled,
    **{f"consent_{standing}": after_a_word(standing) for standing in ("opted_out", "paused", "blocked", "erased")},
    "expired": _expired,
    "window_closed": lambda: _order(HandDriven(), form="session", valid_until=START - 1),
    "no_route": lambda: _order(HandDriven(), numbers=()),
    "number_halted": _verdict("halted"),
    "number_paused": _verdict("paused", START + HOUR),
    "number_pause_proactive": _verdict("pause_proactive", START + HOUR),
    "number_of_another_home": lambda: _fleet(home="pool-b"),
    "number_not_configured": _unknown_number,
    "number_without_token": lambda: _fleet(usable=False),
    "token_refused_thrice": _token_refused,
    "quiet_hours": _hours((-9 * HOUR, -8 * HOUR), (HOUR, 2 * HOUR), (25 * HOUR, 26 * HOUR)),
    "no_send_time": _hours((-9 * HOUR, -8 * HOUR), (-2 * HOUR, -HOUR)),
    "run_paused": _paused_run,
    "dry_run": lambda: _order(HandDriven(), dry_run=True),
    "portfolio_limit": _portfolio(
        {"homes": {HOME: {"granted": 0, "target": 5}}, "frees": [[1, iso(START + HOUR)]]}, 3.0
    ),
    "portfolio_limit_too_late": _portfolio(
        {"homes": {HOME: {"granted": 0, "target": 5}}, "frees": [[1, iso(START + HOUR)]]}, 3.0, life=HOUR / 2
    ),
    "portfolio_unanswered": _portfolio({}, 3.0),
    "template_paused": _template("PAUSED", until=START + HOUR),
    "template_in_assessment": _assessed,
    "recipient_spared": _spared,
    "template_in_review": _template("IN_APPEAL"),
    "template_not_approved": _template("REJECTED"),
    "template_recategorised": _template("APPROVED", "MARKETING"),
    "template_changed": _edited,
    "idempotency_conflict": _conflict,
    "request_invalid": _unsayable,
    "no_echo": _no_echo,
    "resend_number_lost": _number_lost,
    "nobody_resolved_it": _unresolved,
    "dropped_by_operator": _dropped,
    "meta_131026": _refused(131026),
    "meta_131048": _held_by_a_refusal,
    "meta_131056": _pair_held,
    "meta_131016": _refused(131016, 3),
}
"""By the code of the reason; of Meta's refusals one that is final, two that hold, one that used up the attempts."""
