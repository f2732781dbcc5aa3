"""What a journal entry does to a lane's state: used for every entry just decided and for every entry read back.

`evolve` never refuses and never decides. An entry of a kind that it does not know ends the recovery: a newer version
has written here, and guessing could send twice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from harkara.contracts.intents import Form
from harkara.dispatcher.horizon import HORIZON_SECONDS
from harkara.dispatcher.journal import Entry, message_id_of
from harkara.dispatcher.state import Candidate, Hold, LaneState, Message

UNKNOWN_KEPT_SECONDS = HORIZON_SECONDS  # how long an operator may still resolve a message of unknown fate


class UnknownKind(Exception):
    """The journal holds an entry that this version cannot read."""


def evolve(state: LaneState, entry: Entry) -> LaneState:
    """Apply one entry; returns the same, changed state. Raises UnknownKind."""
    if entry.data is None:
        _tombstone(state, entry)
        return state
    state.seq = max(state.seq, entry.seq)
    change = _KINDS.get(entry.kind)
    if change is None:
        raise UnknownKind(entry.kind)
    change(state, entry, entry.data)
    return state


def _order(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{order: a DispatchOrder's JSON, status: queued or scheduled, trace: traceparent or null}"""
    message = message_of(data["order"], entry.seq, data.get("trace"))
    message.status = data["status"]
    if message.status == "scheduled":
        message.until = seconds(data["order"]["not_before"])
    state.messages[message.message_id] = message
    state.index(message)


def _step(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """The message's whole changing state: status, attempt, spent, number, form, called_at, until, reason, ..."""
    message = state.messages.get(message_id_of(entry.key))
    if message is None:
        return
    message.status = data["status"]
    message.attempt = data["attempt"]
    message.spent = data.get("spent", 0)
    message.number = data.get("number")
    message.form = data.get("form")
    message.called_at = data.get("called_at", 0.0)
    message.until = data.get("until")
    message.reason = data.get("reason")
    message.template_only = data.get("template_only", False)
    message.resent = data.get("resent", False)
    message.placed = None
    if message.status == "unknown":
        message.until = entry.at + UNKNOWN_KEPT_SECONDS
    if message.status == "attempting" and message.number is not None:
        state.number(message.number).pace.note(message.called_at)
    state.index(message)


def _end(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{status, attempt, hash, number, ...what the lifecycle event says}"""
    message_id = message_id_of(entry.key)
    message = state.messages.get(message_id)
    if message is not None:
        state.drop(message)
    state.horizon.add(message_id, entry.at, data["status"], data["attempt"], data["hash"])
    number = data.get("number")
    if data["status"] == "submitted" and number is not None:
        state.number(number).count_accepted(entry.at)
        state.touched.add(number)


def _hold(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{until: Unix seconds or null, reason, version, and what the number event says}"""
    _, scope, target = entry.key.split("/", 2)
    state.holds[(scope, target)] = Hold(data["reason"], data.get("until"), entry.at, data.get("version", 0))
    if scope == "number":
        state.touched.add(target)
        if not state.replaying:
            _unplace(state, target)


def _cancel(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{at: the command's time in Unix seconds, actor, ...}"""
    _, kind, target = entry.key.split("/", 2)
    state.cancels[(kind, target)] = max(data["at"], state.cancels.get((kind, target), 0.0))
    state.remember(entry.key, entry.at)
    if not state.replaying:
        state.unplaced.extend(_matching(state, kind, target))


def _matching(state: LaneState, kind: str, target: str) -> list[str]:
    if kind == "cancel_message":
        return [target] if target in state.messages else []
    field = "run_id" if kind == "cancel_run" else "person_key"
    return [message.message_id for message in state.messages.values() if getattr(message, field) == target]


def _resolved(state: LaneState, entry: Entry, _: dict[str, Any]) -> None:
    state.commands.add(entry.key)
    state.remember(entry.key, entry.at)


def _conflict(state: LaneState, entry: Entry, _: dict[str, Any]) -> None:
    state.remember(entry.key, entry.at)


def _emitted(state: LaneState, _: Entry, data: dict[str, Any]) -> None:
    """{seq: everything up to it has been written}"""
    state.emitted = max(state.emitted, data["seq"])


_KINDS: dict[str, Callable[[LaneState, Entry, dict[str, Any]], None]] = {
    "order": _order,
    "step": _step,
    "end": _end,
    "hold": _hold,
    "cancel": _cancel,
    "resolved": _resolved,
    "conflict": _conflict,
    "emitted": _emitted,
}


def _tombstone(state: LaneState, entry: Entry) -> None:
    """The key is forgotten. A step's or conflict's tombstone says nothing that its order's does not."""
    if entry.key.startswith("hold/"):
        _, scope, target = entry.key.split("/", 2)
        state.holds.pop((scope, target), None)
        if scope == "number" and not state.replaying:
            wake_number(state, target)
    elif entry.key.startswith("cancel/"):
        _, kind, target = entry.key.split("/", 2)
        state.cancels.pop((kind, target), None)
    elif entry.key.startswith("command/"):
        state.commands.discard(entry.key)
    elif "/" not in entry.key:
        state.horizon.discard(entry.key)


def wake_number(state: LaneState, number: str) -> None:
    """What waited for this number is looked at again."""
    lane = state.number(number)
    state.unplaced.extend(lane.waiting)
    lane.waiting.clear()
    state.touched.add(number)


def _unplace(state: LaneState, number: str) -> None:
    """The number may send nothing: what stands in its queue finds another candidate, or is held."""
    for message_id in state.number(number).take_all():
        message = state.messages.get(message_id)
        if message is not None and message.placed == number:
            message.placed = None
            state.unplaced.append(message_id)


def unplace(state: LaneState, number: str) -> None:
    """As after a hold, for what an outside state forbids."""
    _unplace(state, number)


def message_of(order: dict[str, Any], seq: int, trace: str | None) -> Message:
    """The live message of a DispatchOrder's JSON."""
    template = order.get("template")
    content = {"to": order["to"], "session": order.get("session"), "template": template}
    return Message(
        message_id=order["message_id"],
        home=sys.intern(order["home"]),
        seq=seq,
        intent_hash=order["intent_hash"],
        person_key=order["person_key"],
        category=sys.intern(order["category"]),  # type: ignore[arg-type]  # validated when it was taken in
        producer=sys.intern(order["producer"]),
        priority=order["priority"],
        plan=tuple(_candidate(each) for each in order["plan"]),
        content=orjson.dumps(content),
        template_key=None if template is None else sys.intern(f"{template['name']}:{template['language']}"),
        run_id=None if order.get("run_id") is None else sys.intern(order["run_id"]),
        trace=trace,
        received_at=seconds(order["received_at"]),
        expires_at=seconds(order["expires_at"]),
        duplicate_ok=order.get("duplicate_ok", False),
        policy_version=sys.intern(order["policy_version"]),
    )


def _candidate(each: dict[str, Any]) -> Candidate:
    until = each.get("valid_until")
    form: Form = "template" if each["form"] == "template" else "session"
    return Candidate(sys.intern(each["phone_number_id"]), form, None if until is None else seconds(until))


def seconds(instant: str) -> float:
    """An ISO instant of the wire as Unix seconds."""
    return datetime.fromisoformat(instant).timestamp()
