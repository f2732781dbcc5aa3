"""Block lists and the registration of numbers."""

from __future__ import annotations

import re

from harkara.graph_simulator import notices
from harkara.graph_simulator.bodies import JsonObject, user_id
from harkara.graph_simulator.management_call import Call
from harkara.graph_simulator.nodes import listed
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.windows import WINDOW_SECONDS

MOST_BLOCKED_AT_ONCE, MOST_BLOCKED = 1_000, 64_000
REGISTRATIONS, REGISTRATION_SECONDS = 10, 72 * 3600.0
"""Attempts to register or deregister a number in 72 hours, then 133016 (Meta)."""
_PIN = re.compile(r"[0-9]{6}", re.ASCII)
_NON_DIGITS = re.compile(r"\D")


async def block_list(call: Call) -> JsonObject | Refusal:
    """GET /{phone_number_id}/block_users."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    blocked = call.simulator.people.blocked_by(line.number.phone_number_id)
    return listed(call.request, [{"messaging_product": "whatsapp", "input": one, "wa_id": one} for one in blocked])


async def _users(call: Call) -> list[str] | Refusal:
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    if body.get("messaging_product") != "whatsapp":
        return Refusal(100, message="(#100) The parameter messaging_product is required.")
    users = body.get("block_users")
    if not isinstance(users, list) or not 1 <= len(users) <= MOST_BLOCKED_AT_ONCE:
        return Refusal(100, message="(#100) The parameter block_users is required: 1 to 1,000 users.")
    inputs = [user.get("user") or user.get("user_id") if isinstance(user, dict) else None for user in users]
    if not all(isinstance(one, str) and one for one in inputs):
        return Refusal(131009, "Parameter Invalid: block_users")
    return [str(one) for one in inputs]


def _wa_id(shown: str) -> str:
    return shown if shown[:2].isalpha() and "." in shown else _NON_DIGITS.sub("", shown)


async def block_users(call: Call) -> JsonObject | Refusal:
    """POST /{phone_number_id}/block_users: only people who wrote within 24 hours can be blocked (139100)."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    inputs = await _users(call)
    if isinstance(inputs, Refusal):
        return inputs
    simulator, own = call.simulator, line.number.phone_number_id
    if sum(1 for _ in simulator.people.blocked_by(own)) + len(inputs) > MOST_BLOCKED:
        return Refusal(139101)
    added, failed = [], []
    for shown in inputs:
        wa_id = _wa_id(shown)
        if simulator.windows.is_open(own, wa_id, call.now, WINDOW_SECONDS / simulator.scenario.time_scale):
            simulator.people.known(wa_id).blocked_by.add(own)
            added.append({"input": shown, "wa_id": wa_id, "user_id": user_id(wa_id)})
        else:
            errors = [{"code": 139100, "message": "The user has not written within 24 hours."}]
            failed.append({"input": shown, "wa_id": wa_id, "errors": errors})
    answer: JsonObject = {"messaging_product": "whatsapp", "block_users": {"added_users": added}}
    if failed:
        answer["block_users"]["failed_users"] = failed
    return answer if added else Refusal(139100, "No user could be blocked.")


async def unblock_users(call: Call) -> JsonObject | Refusal:
    """DELETE /{phone_number_id}/block_users."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    inputs = await _users(call)
    if isinstance(inputs, Refusal):
        return inputs
    removed = []
    for shown in inputs:
        wa_id = _wa_id(shown)
        person = call.simulator.people.get(wa_id)
        if person is not None and line.number.phone_number_id in person.blocked_by:
            person.blocked_by.discard(line.number.phone_number_id)
            removed.append({"input": shown, "wa_id": wa_id})
    return {"messaging_product": "whatsapp", "block_users": {"removed_users": removed}}


async def register(call: Call) -> JsonObject | Refusal:
    """POST /{phone_number_id}/register `{messaging_product, pin}`: 133005 for another PIN than the number's."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    if body.get("messaging_product") != "whatsapp":
        return Refusal(100, message="(#100) The parameter messaging_product is required.")
    pin = body.get("pin")
    if not isinstance(pin, str) or not _PIN.fullmatch(pin):
        return Refusal(100, message="(#100) Param pin must have 6 digits.")
    seconds = REGISTRATION_SECONDS / call.simulator.scenario.time_scale
    if not line.registrations.take(call.now, REGISTRATIONS, seconds):
        return Refusal(133016)
    if pin != line.number.pin:
        return Refusal(133005)
    if line.number.status != "CONNECTED":
        line.number.status = "CONNECTED"
        value = notices.number_quality(line.number, "ONBOARDING")
        call.simulator.tell(line.waba.id, "phone_number_quality_update", value)
    return {"success": True}


async def deregister(call: Call) -> JsonObject | Refusal:
    """POST /{phone_number_id}/deregister: sends get 133010 until it is registered again."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    seconds = REGISTRATION_SECONDS / call.simulator.scenario.time_scale
    if not line.registrations.take(call.now, REGISTRATIONS, seconds):
        return Refusal(133016)
    line.number.status = "DISCONNECTED"
    return {"success": True}
