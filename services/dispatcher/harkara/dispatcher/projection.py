"""Which events a committed journal entry implies: the lifecycle, number, consent and audit topics are projections of
the journal. A function of the entry alone, ids included, so whoever takes the lane writes the same events again.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from harkara.contracts.audit import AuditRecord, as_json, decision_hash
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import Decision, Event, Reason, event_id, plausible
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.lifecycle import FIXED_RANK, MessageLifecycle
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
from harkara.dispatcher.hold import IN_ASSESSMENT
from harkara.dispatcher.journal import Entry, instant, message_id_of
from harkara.dispatcher.message import RESEND_LOST
from harkara.graph_api.errors import policy_for
from harkara.policy.lane_decisions import decision_of
from harkara.policy.lane_reasons import ERROR_POLICY, META, Told, told

REFUSALS = frozenset({"rejected", "cancelled", "expired", "failed_unsent", "unknown"})
_TEMPLATE_STATUS = {132015: "PAUSED", 132016: "DISABLED"}
"""What a refusal says of its template (Meta, error codes)."""


class Emission(NamedTuple):
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
    found = [] if project is None else project(entry, entry.data)
    for each in tuple(found):
        if _is_refusal(each.event):
            found.append(_refusal(entry, each.event, each.id))
    return found


def _is_refusal(event: Event) -> TypeGuard[MessageLifecycle]:
    """Whether it says that the message is not sent, or that nobody will know."""
    if not isinstance(event, MessageLifecycle) or event.status not in REFUSALS:
        return False
    return event.reason is not None and event.reason.code != "seen_in_status"  # which takes an attempt back, no more


def _refusal(entry: Entry, event: MessageLifecycle, step: str) -> Emission:
    """For the audit, by whatever rule, command or word of the person; bound to the decision in its event."""
    message_id, reason, kept = event.message_id or "", event.reason, event.decision
    assert reason is not None  # it would be no refusal
    details = {
        "code": reason.code,
        "rule": reason.rule or "",
        "policy_version": reason.policy_version or "",
        "home": event.home,
        "attempt": str(event.attempt),
    }
    bound = {} if kept is None else {"decision": decision_hash("dispatcher", step, message_id, as_json(kept))}
    record = AuditRecord(
        audit_id=event_id(step, "audit"),
        actor="dispatcher",
        action=f"message_{event.status}",
        subject=message_id,
        at=instant(entry.at),
        details=details | bound,
    )
    return Emission(AUDIT_LOG, entry.home, message_id, record, record.audit_id, entry.at, message_id)


def _order(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    order = data["order"]
    later = data["status"] == "scheduled"
    attempt = data["again"]["attempt"] + 1 if "again" in data else 1
    facts = {
        "run_id": order.get("run_id"),
        "producer": order.get("producer"),
        "person_key": order.get("person_key"),
        "category": order.get("category"),
        "received_at": _read(order.get("received_at")),
        "hold_until": _read(order["not_before"]) if later else None,
    }
    return [_lifecycle(entry, data, order["message_id"], data["status"], attempt, facts)]


def _step(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    status, attempt = data["status"], data["attempt"]
    lost = data.get("reason") == RESEND_LOST
    belongs_to = attempt if status in ("attempting", "in_doubt", "unknown") and not lost else attempt + 1
    under_way = belongs_to == attempt
    until = data.get("until")
    evidence = {
        "phone_number_id": data.get("number") if under_way else None,
        "form": data.get("form") if under_way else None,
        "template": data.get("template") if under_way else None,
        "run_id": data.get("run_id"),
        "hold_until": None if until is None or under_way else _at(until),
        "error_code": data.get("code"),
        "decision": _decision(entry, data, status) if "went_by" in data else None,
    }
    return [_lifecycle(entry, data, message_id_of(entry.key), status, belongs_to, evidence)]


def _end(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    message_id = message_id_of(entry.key)
    called = data["event_attempt"] <= data["attempt"] or data["status"] == "rehearsed"
    evidence = {
        "phone_number_id": data.get("number") if called else None,
        "form": data.get("form") if called else None,
        "template": data.get("template") if called and data.get("form") == "template" else None,
        "wamid": data.get("wamid"),
        "error_code": data.get("code"),
        "run_id": data.get("run_id"),
        "decision": _decision(entry, data, data["status"]),
    }
    emissions = [_lifecycle(entry, data, message_id, data["status"], data["event_attempt"], evidence)]
    if "withdrawn" in data:
        number, status = data["withdrawn"]
        emissions.append(_lifecycle(entry, data, message_id, status, number, {})._replace(id=_id(entry, "withdrawn")))
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
    said = data | data.get("says", {})
    return [_number_event(entry, said, *each) for each in told]


def _template_event(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """So that every lane stops, and the account's list is read. A hold of before accounts were named says nothing, nor
    does one of a template that Meta tries out: it is what the list says it is."""
    waba_id, _, template = entry.key.split("/", 2)[2].partition("/")
    name, _, language = template.partition(":")
    if not language or data["reason"] == IN_ASSESSMENT:
        return []
    version = data.get("policy_version")
    event = TemplateEvent(
        waba_id=waba_id,
        name=name,
        language=language,
        kind="status",
        source="dispatcher",
        at=instant(data.get("since", entry.at)),
        status=_TEMPLATE_STATUS.get(data.get("code", 0)),
        reason=Reason(code=data["reason"], text=_told(data["reason"]).text, rule=ERROR_POLICY, policy_version=version),
    )
    return [Emission(TEMPLATE_EVENTS, waba_id, event.key, event, _id(entry), entry.at, None, data.get("trace"))]


def _number_event(entry: Entry, data: dict[str, Any], number: str, home: str, event_id_: str) -> Emission:
    until = data.get("until")
    text = _told(data["reason"]).text
    if data["event"] == "halted":
        text = f"{text} Someone must look: mend the cause, then resume the number."
    event = NumberEvent(
        phone_number_id=number,
        home=home,
        kind=data["event"],
        source="dispatcher",
        at=instant(data.get("since", entry.at)),
        hold_until=None if until is None else instant(until),
        reason=Reason(code=data["reason"], text=text, rule=ERROR_POLICY, policy_version=data.get("policy_version")),
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
    return [_lifecycle(entry, data, message_id_of(entry.key), "submitted", data["attempt"], evidence)]


def _conflict(entry: Entry, data: dict[str, Any]) -> list[Emission]:
    """Phase 1, so that it changes nothing of the message that the lane has."""
    conflict = {**data, "reason": "idempotency_conflict"}
    evidence = {"run_id": data.get("run_id"), "decision": _decision(entry, conflict, "rejected")}
    return [_lifecycle(entry, conflict, message_id_of(entry.key), "rejected", 0, evidence)]


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
    entry: Entry, data: dict[str, Any], message_id: str, status: str, attempt: int, evidence: dict[str, Any]
) -> Emission:
    """Every value is of its type already, as the lane wrote it: to check them again would take half of the time."""
    reason = data.get("reason")
    said = {
        "message_id": message_id,
        "home": entry.home,
        "status": status,
        "rank": FIXED_RANK.get(status, entry.seq),
        "attempt": attempt,
        "at": _at(entry.at),
        "reason": None if reason is None else _reason(reason, data),
        **evidence,
    }
    event = MessageLifecycle.built_of(said)
    return Emission(
        MESSAGE_LIFECYCLE, entry.home, entry.home, event, _id(entry), entry.at, message_id, data.get("trace")
    )


def _reason(reason: str, data: dict[str, Any]) -> Reason:
    """`text`: where the journal has a sentence of its own; `policy_version`: where it says by which it was decided."""
    said = _told(reason)
    rule, version = data.get("rule") or said.rule, data.get("policy_version")
    text = data.get("text") or said.text
    return Reason(code=reason, text=text, rule=rule, policy_version=version, details=data.get("details", {}))


@lru_cache(maxsize=64)  # the entries of a round have one instant
def _at(at: float) -> datetime:
    """Raises ValueError where a clock is out by a century."""
    return plausible(instant(at))


def _read(at: str | None) -> datetime | None:
    """A time of an order."""
    return None if at is None else datetime.fromisoformat(at)


def _decision(entry: Entry, data: dict[str, Any], status: str) -> Decision | None:
    """What the decision went by: written out already (contacts), or its inputs alone (`causes.py`). An entry of before
    there were any has none. `as_of`: of a rehearsal, the slot for which it was made (Unix seconds)."""
    if "went_by" not in data:
        kept = data.get("decision")
        return None if kept is None else Decision.model_validate(kept)
    version = data.get("policy_version", "")
    at = instant(data.get("as_of", entry.at))
    return decision_of(data["went_by"], status, data["reason"], version, at)


def _told(reason: str) -> Told:
    """For people: ours, or the name of Meta's error in its table."""
    code = reason.removeprefix(META)
    return told(reason, policy_for(int(code)).name if reason.startswith(META) and code.isdigit() else "")


def _id(entry: Entry, *part: str) -> str:
    return event_id("dispatcher", entry.home, entry.seq, entry.kind, *part)
