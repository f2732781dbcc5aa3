"""Status updates of an accepted message, in the shape of the payload version that the scenario asks for."""

from __future__ import annotations

from dataclasses import dataclass

from harkara.graph_simulator.bodies import JsonObject, contact, error_object, pricing, user_id
from harkara.graph_simulator.ledger import Entry
from harkara.graph_simulator.outbox import Update
from harkara.graph_simulator.scenario import Fate, Step
from harkara.graph_simulator.world import NumberSpec

CONVERSATION_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Shape:
    """`version`: v23.0 has `conversation` and no user ids. `username_only`: no number is shown. `free`: not charged."""

    version: str = "v24.0"
    username_only: bool = False
    free: bool = False


def shown_recipient(entry: Entry, fate: Fate) -> str:
    """The wa_id that Meta shows, which may differ from the digits that were written to."""
    return entry.to[:-1] + "0" if fate.other_wa_id else entry.to


def status_update(
    waba_id: str, number: NumberSpec, entry: Entry, fate: Fate, step: Step, at: float, shape: Shape
) -> Update:
    """One status of the message at `at` (seconds)."""
    recipient = shown_recipient(entry, fate)
    modern = shape.version != "v23.0"
    content: JsonObject = {
        "id": entry.wamid,
        "status": step.status,
        "timestamp": str(int(at * 1000) if fate.milliseconds else int(at)),
    }
    hidden = fate.by_user_id or shape.username_only or entry.user_id is not None or not recipient.isdecimal()
    if not (hidden and modern):
        content["recipient_id"] = recipient
    if modern:
        content["recipient_user_id"] = entry.user_id or (user_id(recipient) if recipient.isdecimal() else recipient)
    if entry.opaque is not None and fate.echo:
        content["biz_opaque_callback_data"] = entry.opaque
    if step.status in ("sent", "delivered"):
        content["pricing"] = pricing(entry.category, free=shape.free)
        if not modern:
            content["conversation"] = _conversation(entry, step, at)
    if step.error_code is not None:
        content["errors"] = [error_object(step.error_code)]
        return Update(waba_id, number, "statuses", content)
    person = _person(recipient, hidden=shape.username_only or entry.user_id is not None) if modern else None
    return Update(waba_id, number, "statuses", content, person)


def _person(recipient: str, *, hidden: bool) -> JsonObject:
    if not recipient.isdecimal():
        return {"user_id": recipient}
    shown = contact(recipient, "Simulated User")
    if hidden:
        del shown["wa_id"]
    return shown


def _conversation(entry: Entry, step: Step, at: float) -> JsonObject:
    found: JsonObject = {"id": entry.wamid[-32:].lower(), "origin": {"type": entry.category}}
    if step.status == "sent":
        found["expiration_timestamp"] = str(int(at) + CONVERSATION_SECONDS)
    return found
