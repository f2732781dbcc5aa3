"""Which events a committed journal entry implies: the lifecycle, number, consent and audit topics are projections of
the journal. A function of the entry alone, ids included, so whoever takes the lane writes the same events again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import Event, Reason, event_id
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.lifecycle import FACTS, MessageLifecycle, Status
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.portfolios import PortfolioEvent
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.topics import (
    AUDIT_LOG,
    CONSENT_EVENTS,
    DISPATCH_ORDERS,
    MESSAGE_LIFECYCLE,
    NUMBER_EVENTS,
    PORTFOLIO_EVENTS,
    TEMPLATE_EVENTS,
    Topic,
)
from harkara.dispatcher.journal import Entry, instant, message_id_of
from harkara.graph_api.errors import policy_for

_SENTENCES = {
    "cancelled": "A cancel command names this message, its run or its recipient.",
    "consent_opted_out": "The person opted out, which cancels everything that was accepted for them until then.",
    "consent_paused": "The person has paused these messages.",
    "consent_blocked": "The person is blocked from these messages.",
    "consent_erased": "The person asked to be forgotten, which cancels everything that was accepted for them until "
    "then.",
    "expired": "Its deadline passed before it could be sent.",
    "window_closed": "The customer service window is closed and the plan has no template for it.",
    "no_route": "The plan has no number to send by.",
    "number_halted": "Its number is halted until an operator resumes it.",
    "number_paused": "Its number is paused.",
    "quiet_hours": "It is not the time of day at which its recipient may be written to.",
    "run_paused": "Its run is paused until somebody resumes it.",
    "dry_run": "A dry run: nothing was sent. The details say by which number it would have gone, and when.",
    "no_send_time": "Until its life ended there was no more time at which its recipient may be written to.",
    "number_pause_proactive": "Its number sends only answers inside open windows for now.",
    "number_not_configured": "Its number is not in governance.yaml.",
    "number_without_token": "Its number has no access token.",
    "portfolio_limit": "Its portfolio has written to as many people in 24 hours as Meta allows; it goes when a place "
    "is free.",
    "portfolio_unanswered": "The ledger of its portfolio's messaging limit does not answer (quality-monitor keeps it).",
    "not_reachable": "The Graph API cannot be reached.",
    "owner_lost": "The dispatcher ended between the journal and the answer; Meta may have the message.",
    "no_echo": "No status came in the category's time; Meta may or may not have the message.",
    "timeout": "No answer came in time; Meta may have the message.",
    "connection": "The connection broke after the request; Meta may have the message.",
    "answer": "The answer could not be read; Meta may have the message.",
    "http_5xx": "A server error without Meta's explanation; Meta may have the message.",
    "code": "Meta's error does not say whether it has the message.",
    "seen_in_status": "A status of Meta showed that it has the message.",
    "idempotency_conflict": "The same message id came before with another intent.",
    "duplicate": "Meta has this attempt besides another one of the same message: the person may have got it twice.",
    "resend_granted": "No status came in time, or an operator wished it: it is sent once more, under a new attempt.",
    "fallback_content": "Its fallback content goes, because the first was not delivered.",
    "fallback_not_watched": "Meta has it; its fallback content will not go, for its lane watches as many as it can.",
    "redriven": "Somebody has let it go on after it had failed.",
    "endpoint_failing": "Meta's answers to this number fail; one call at a time is tried until one is answered.",
    "typing": "Its number shows the person that it types; the message goes in a moment.",
    "template_paused": "Meta has paused its template; it goes when the pause ends.",
    "template_in_review": "Meta reviews its template; it goes when the template is approved again.",
    "template_not_approved": "Meta does not let its template be sent any more.",
    "template_recategorised": "Meta moved its template to a dearer category, which asks for another consent: cancel "
    "the run, or send it again with that category.",
    "token_refused_thrice": "Meta refused this number's token three times; nothing more is sent with it.",
}


_RULES = {
    **dict.fromkeys(("consent_opted_out", "consent_paused", "consent_blocked", "consent_erased"), "compliance.consent"),
    **dict.fromkeys(("cancelled", "run_paused"), "send-commands"),
    **dict.fromkeys(("quiet_hours", "no_send_time"), "routing.quiet_hours"),
    **dict.fromkeys(("number_halted", "number_paused", "number_pause_proactive"), "telemetry.circuit_breaker"),
    **dict.fromkeys(("number_not_configured", "number_without_token", "no_route"), "numbers"),
    **dict.fromkeys(("portfolio_limit", "portfolio_unanswered"), "portfolios"),
    **dict.fromkeys(
        ("template_paused", "template_in_review", "template_not_approved", "template_recategorised"), "templates"
    ),
    "expired": "expires_at",
    "window_closed": "routing.window_margin_minutes",
    "token_refused_thrice": "error_policy",
}
"""By which rule a message waits or ends in the lane, where its journal names none."""
_TEMPLATE_STATUS = {132015: "PAUSED", 132016: "DISABLED"}
"""What a refusal says of its template (Meta, error codes)."""


@dataclass(frozen=True, slots=True)
class Emission:
    """An event to write: `event` for its topic, or a quarantined order. Partitioned by `partition_key`."""

    topic: Topic
    partition_key: str
    key: str
    event: Event
    id: str
    at: float
    subject: str | None = None
    trace: str | None = None
    dlq_reason: str | None = None


def implied(entry: Entry) -> list[Emission]:
    """The events of one entry, in the order in which they are to be written."""
    if entry.data is None:
        return []
    project = _PROJECTIONS.get(entry.kind)
    return [] if project is None else project(entry, entry.data)


def _order(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    order = data["order"]
    facts: dict[str, Any] = {name: order.get(name) for name in FACTS}
    if data["status"] == "scheduled":
        facts["hold_until"] = order["not_before"]
    attempt = data["again"]["attempt"] + 1 if "again" in data else 1
    return [_lifecycle(entry, data, order["message_id"], data["status"], attempt, **facts)]


def _step(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    status, attempt = data["status"], data["attempt"]
    belongs_to = attempt if status in ("attempting", "in_doubt", "unknown") else attempt + 1
    under_way = belongs_to == attempt
    until = data.get("until")
    evidence = {
        "phone_number_id": data.get("number") if under_way else None,
        "form": data.get("form") if under_way else None,
        "template": data.get("template") if under_way else None,
        "run_id": data.get("run_id"),
        "hold_until": None if until is None or under_way else instant(until),
        "error_code": data.get("code"),
    }
    return [_lifecycle(entry, data, message_id_of(entry.key), status, belongs_to, **evidence)]


def _end(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    message_id = message_id_of(entry.key)
    called = data["event_attempt"] <= data["attempt"] or data["status"] == "rehearsed"
    evidence = {
        "phone_number_id": data.get("number") if called else None,
        "form": data.get("form") if called else None,
        "template": data.get("template") if data.get("form") == "template" and called else None,
        "wamid": data.get("wamid"),
        "error_code": data.get("code"),
        "run_id": data.get("run_id"),
        "decision": data.get("decision"),
    }
    emissions = [_lifecycle(entry, data, message_id, data["status"], data["event_attempt"], **evidence)]
    if "withdrawn" in data:
        number, status = data["withdrawn"]
        emissions.append(replace(_lifecycle(entry, data, message_id, status, number), id=_id(entry, "withdrawn")))
    if data["status"] == "failed_unsent" and "order" in data:
        emissions.append(_dead_letter(entry, data, message_id))
    if data.get("opted_out"):
        emissions.append(_opt_out(entry, data, message_id))
    return emissions


def _dead_letter(entry: Entry, data: dict[str, Any], message_id: str) -> Emission:
    """The order as it was, for a person to look at, and to redrive unless an older attempt is of unknown fate."""
    redrive = None if data.get("resent") else data["attempt"]
    order = DispatchOrder.model_validate(data["order"] | {"redrive": redrive})
    reason = f"failed: {data.get('reason', '')} (code {data.get('code')})"
    return Emission(
        DISPATCH_ORDERS.dlq, entry.home, entry.home, order, _id(entry, "dlq"), entry.at, message_id, data.get("trace"),
        dlq_reason=reason,
    )  # fmt: skip


def _opt_out(entry: Entry, data: dict[str, Any], message_id: str) -> Emission:
    person = data["person_key"]
    event = ConsentEvent(
        event_id=_id(entry, "consent"),
        person_key=person,
        standing="opted_out",
        purpose="marketing",
        source="meta_error",
        at=instant(entry.at),
        proof=f"Meta refused message {message_id} with code {data.get('code')}",
        actor="dispatcher",
    )
    return Emission(CONSENT_EVENTS, person, person, event, event.event_id, entry.at, None, data.get("trace"))


def _hold(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """A number event for the number, and for each number of another lane that shares what was refused (`others`); of a
    template, that Meta refused it."""
    if entry.key.startswith("hold/template/"):
        return _template_event(entry, data)
    if "event" not in data:
        return []
    number = entry.key.split("/", 2)[2]
    told = [(number, entry.home, _id(entry)), *((n, home, _id(entry, n)) for n, home in data.get("others", ()))]
    return [_number_event(entry, data, *each) for each in told]


def _template_event(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """So that every lane stops, and the account's list is read. A hold of before accounts were named says nothing."""
    waba_id, _, template = entry.key.split("/", 2)[2].partition("/")
    name, _, language = template.partition(":")
    if not language:
        return []
    event = TemplateEvent(
        waba_id=waba_id,
        name=name,
        language=language,
        kind="status",
        source="dispatcher",
        at=instant(entry.at),
        status=_TEMPLATE_STATUS.get(data.get("code", 0)),
        reason=Reason(code=data["reason"], text=_sentence(data["reason"]), rule="error_policy"),
    )
    return [Emission(TEMPLATE_EVENTS, waba_id, event.key, event, _id(entry), entry.at, None, data.get("trace"))]


def _number_event(entry: Entry, data: dict[str, Any], number: str, home: str, event_id_: str) -> Emission:
    until = data.get("until")
    text = _sentence(data["reason"])
    if data["event"] == "halted":
        text = f"{text} Someone must look: mend the cause, then resume the number."
    event = NumberEvent(
        phone_number_id=number,
        home=home,
        kind=data["event"],
        source="dispatcher",
        at=instant(entry.at),
        hold_until=None if until is None else instant(until),
        reason=Reason(code=data["reason"], text=text, rule="error_policy"),
    )
    return Emission(NUMBER_EVENTS, home, home, event, event_id_, entry.at, None, data.get("trace"))


def _places(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    portfolio_id = entry.key.split("/", 2)[1]
    event = PortfolioEvent(
        portfolio_id=portfolio_id,
        kind="spent",
        at=instant(entry.at),
        home=entry.home,
        sequence=data["sequence"],
        persons=tuple(data.get("persons", ())),
        again=tuple(data.get("again", ())),
        returned=data.get("returned", 0),
    )
    return [Emission(PORTFOLIO_EVENTS, portfolio_id, portfolio_id, event, _id(entry), entry.at)]


def _cancel(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    _, kind, target = entry.key.split("/", 2)
    return [_audit(entry, data["actor"], kind, target, {"note": data.get("note", "")})]


def _priority(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    _, kind, target = entry.key.split("/", 2)
    details = {"priority": str(data["priority"]), "note": data.get("note", "")}
    return [_audit(entry, data["actor"], kind, target, details)]


def _pause(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    action = "pause_run" if data["paused"] else "resume_run"
    return [_audit(entry, data["actor"], action, entry.key.partition("/")[2], {"note": data.get("note", "")})]


def _resolved(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    details = {
        "resolution": str(data.get("resolution")),
        "applied": "yes" if data["applied"] else "no",
        "note": data.get("note", ""),
    }
    return [_audit(entry, data["actor"], "resolve_in_doubt", data["target"], details)]


def _audit(entry: Entry, actor: str, action: str, subject: str, details: dict[str, str]) -> Emission:
    """On the partition of the home, as everything of a lane."""
    record = AuditRecord(
        audit_id=_id(entry, "audit"), actor=actor, action=action, subject=subject, at=instant(entry.at), details=details
    )
    return Emission(AUDIT_LOG, entry.home, subject, record, record.audit_id, entry.at)


def _duplicate(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """Evidence of an effect beside another: the message's state then shows two attempts that Meta has."""
    evidence = {"wamid": data.get("wamid"), "phone_number_id": data.get("number")}
    return [_lifecycle(entry, data, message_id_of(entry.key), "submitted", data["attempt"], **evidence)]


def _conflict(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """Phase 1, so that it changes nothing of the message that the lane has."""
    told = {**data, "reason": "idempotency_conflict"}
    return [_lifecycle(entry, told, message_id_of(entry.key), "rejected", 0, run_id=data.get("run_id"))]


_PROJECTIONS = {
    "order": _order,
    "step": _step,
    "end": _end,
    "hold": _hold,
    "places": _places,
    "cancel": _cancel,
    "priority": _priority,
    "pause": _pause,
    "resolved": _resolved,
    "conflict": _conflict,
    "duplicate": _duplicate,
}


def _lifecycle(
    entry: Entry, data: dict[str, Any], message_id: str, status: str, attempt: int, **evidence: Any
) -> Emission:
    reason = data.get("reason")
    event = MessageLifecycle(
        message_id=message_id,
        home=entry.home,
        status=cast(Status, status),
        rank=entry.seq,
        attempt=attempt,
        at=instant(entry.at),
        reason=None if reason is None else _reason(reason, data),
        **{name: value for name, value in evidence.items() if value is not None},
    )
    return Emission(
        MESSAGE_LIFECYCLE, entry.home, entry.home, event, _id(entry), entry.at, message_id, data.get("trace")
    )


def _reason(reason: str, data: dict[str, Any]) -> Reason:
    """`text`: where the journal has a sentence of its own."""
    rule, version = data.get("rule") or _rule(reason), data.get("policy_version")
    text = data.get("text") or _sentence(reason)
    return Reason(code=reason, text=text, rule=rule, policy_version=version, details=data.get("details", {}))


def _rule(reason: str) -> str | None:
    return "error_policy" if reason.startswith("meta_") else _RULES.get(reason)


def _sentence(reason: str) -> str:
    """For people: ours, or the name of Meta's error in its table."""
    if reason.startswith("meta_") and reason.removeprefix("meta_").isdigit():
        return f"Meta refused it: {policy_for(int(reason.removeprefix('meta_'))).name}."
    return _SENTENCES.get(reason, reason)


def _id(entry: Entry, *part: str) -> str:
    return event_id("dispatcher", entry.home, entry.seq, entry.kind, *part)
