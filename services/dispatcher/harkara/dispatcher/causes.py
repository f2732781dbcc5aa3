"""What decided against a message, as its journal entry keeps it: the inputs of `harkara.policy.lane_decisions`.

Built where a hold or an end is written and nowhere else, so a message that goes costs nothing. Plain dictionaries of a
few hundred bytes; a cause is made while the decision is, from what it looked at, and written out in the same decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from harkara.dispatcher.journal import instant
from harkara.dispatcher.wordings import wrong_with
from harkara.policy.lane import Doubt

if TYPE_CHECKING:
    from harkara.contracts.consent import ConsentState, Purpose
    from harkara.contracts.numbers import NumberState
    from harkara.contracts.portfolios import PortfolioLease
    from harkara.dispatcher.message import Candidate, Hours, Message
    from harkara.dispatcher.state import Hold, Paused
    from harkara.dispatcher.wordings import TemplateWord
    from harkara.graph_api.errors import ErrorPolicy

Inputs: TypeAlias = dict[str, Any]
Cause: TypeAlias = Callable[["Message"], Inputs]
"""Of a message the inputs of the decision against it."""

MOST_WAYS = 3  # of a plan; how many more it has is said


def decided(policy_version: str, inputs: Inputs) -> dict[str, Any]:
    """What an entry says of the decision that it writes down, for its event."""
    return {"policy_version": policy_version, "went_by": inputs}


def cancelled(command: str, said_at: float, message: Message) -> Inputs:
    """A cancel command that names it."""
    return {"kind": "cancel", "command": command, "said_at": _iso(said_at), "received_at": _iso(message.received_at)}


def consent(name: str, denial: ConsentState, purpose: Purpose, message: Message) -> Inputs:
    """The person's word under one of their names."""
    word, revoked = getattr(denial, purpose), denial.words(purpose).revoked_until
    found: Inputs = {
        "kind": "consent",
        "purpose": purpose,
        "person_key": name,
        "received_at": _iso(message.received_at),
    }
    if word is not None:
        found |= {"standing": word.standing, "said_at": word.at.isoformat(), "source": word.source}
        found |= {"until": None if word.until is None else word.until.isoformat()}
    found |= {"revoked_until": None if revoked is None else revoked.isoformat(), "answers": message.answers}
    return _told(found)


def life(message: Message) -> Inputs:
    """Its deadline."""
    return {"kind": "life", "expires_at": _iso(message.expires_at)}


def run(word: Paused, message: Message) -> Inputs:
    """The word that keeps its run paused."""
    return {"kind": "run", "run_id": message.run_id, "paused": word.paused, "since": _iso(word.at)}


def hours(now: float, message: Message) -> Inputs:
    """The hours that follow, else the last ones."""
    found: Hours = next((each for each in message.hours if now < each.end), message.hours[-1])
    return {"kind": "hours", "opens_at": _iso(found.start), "closes_at": _iso(found.end)}


def ways(message: Message) -> Inputs:
    """Its plan, of which nothing is open any more."""
    found: Inputs = {"kind": "ways", "ways": [_way(each) for each in message.plan[:MOST_WAYS]]}
    more = len(message.plan) - MOST_WAYS
    return found | ({"more": more} if more > 0 else {}) | ({"template_only": True} if message.template_only else {})


def _way(each: Candidate) -> Inputs:
    closes = {} if each.valid_until is None else {"closes_at": _iso(each.valid_until)}
    return {"number": each.number, "form": each.form} | closes


def number(number: str, facts: Mapping[str, Any], message: Message) -> Inputs:
    """Why the number cannot be called at all."""
    return {"kind": "number", "number": number, **facts}


def number_state(state: NumberState, form: str | None, message: Message) -> Inputs:
    """The state of the number, as its topic has it."""
    found: Inputs = {"kind": "number_state", "number": state.phone_number_id, "verdict": state.verdict, "form": form}
    until = None if state.until is None else state.until.isoformat()
    return _told(found | {"since": state.updated_at.isoformat(), "until": until})


def elsewhere(number: str, home: str, message: Message) -> Inputs:
    """The home of the number is another one."""
    return {"kind": "elsewhere", "number": number, "number_home": home, "home": message.home}


def hold(scope: str, target: str, standing: Hold, message: Message) -> Inputs:
    """A hold that a refusal of Meta's left. A person is named in a field of its own, for whoever is to forget them."""
    found: Inputs = {"kind": "hold", "scope": scope, "target": target, "reason": standing.reason}
    if scope == "pair":
        found["target"], _, found["person_key"] = target.partition("/")
    elif scope == "recipient":
        found["target"], found["person_key"] = "marketing", target
    return _told(found | {"since": _iso(standing.at), "until": _or_none(standing.until)})


def template(waba_id: str, key: str | None, word: TemplateWord, message: Message) -> Inputs:
    """What is known of the template in that account."""
    found: Inputs = {"kind": "template", "template": key or "", "waba_id": waba_id, "status": word.status}
    since = _iso(word.status_at) if word.status_at else None
    found |= {"since": since, "paused_until": _or_none(word.paused_until), "category": word.category}
    return _told(found | {"paid_for": message.category, "wrong": wrong_with(word, message, key)})


def place(portfolio: str, lease: PortfolioLease | None, facts: Mapping[str, Any], message: Message) -> Inputs:
    """How the ledger of the portfolio and the home's units stood."""
    found: Inputs = {"kind": "place", "portfolio": portfolio, **facts}
    if lease is not None:
        found |= {"limit": lease.limit, "used": lease.used}
    return _told(found)


def refusal(policy: ErrorPolicy, spent: int) -> Inputs:
    """Meta's refusal, and how the error policy takes it."""
    found: Inputs = {"kind": "refusal", "code": policy.code, "error": policy.name, "action": policy.action.value}
    return _told(found | {"keeps": policy.keeps_message, "spends": policy.spends_attempt, "spent": spent})


def echoless(doubt: Doubt, heard_at: float, message: Message) -> Inputs:
    """A time in doubt that is over."""
    heard = {"heard_at": _iso(heard_at)} if heard_at else {}
    return {"kind": "echoless", **doubt.model_dump(), "called_at": _iso(message.called_at), **heard}


def resend(planned: bool, obstacle: str | None, until: float | None, message: Message) -> Inputs:
    """Why the number of its older attempt cannot send it again."""
    found: Inputs = {"kind": "resend", "number": message.number, "planned": planned, "obstacle": obstacle}
    return _told(found | {"until": _or_none(until)})


def unresolved(kept_until: float) -> Inputs:
    """Until when somebody could have said what became of it."""
    return {"kind": "unresolved", "kept_until": _iso(kept_until)}


def resolved(resolution: str, said_at: str) -> Inputs:
    """An operator's word on it."""
    return {"kind": "resolved", "resolution": resolution, "said_at": said_at}


def dry_run(held: Inputs | None = None) -> Inputs:
    """It was a rehearsal; `held`: the inputs for which it would have been held."""
    return {"kind": "dry_run", "dry_run": True} | ({} if held is None else {"held": held})


def conflict(*, lives: bool) -> Inputs:
    """The same id with another intent."""
    return {"kind": "conflict", "same_intent": False, "lives": lives}


def request(form: str, template: str | None) -> Inputs:
    """Content that cannot be made into a request."""
    return _told({"kind": "request", "form": form, "valid": False, "template": template})


def _told(found: Inputs) -> Inputs:
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _or_none(at: float | None) -> str | None:
    return None if at is None else _iso(at)


def _iso(at: float) -> str:
    return instant(at).isoformat()
