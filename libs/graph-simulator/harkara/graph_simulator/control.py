"""The simulator's own endpoints, /_simulator/...: scenario, inbound messages, numbers, templates, ledger, counts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from harkara.graph_simulator.bodies import envelope
from harkara.graph_simulator.scenario import FATES, SUFFIXES, Scenario
from harkara.graph_simulator.simulator import Line, Simulator
from harkara.graph_simulator.world import Availability, Quality

MAX_PAGE = 10_000
"""Ledger entries in one answer: about 3 MB."""


class Order(BaseModel):
    """A body of a control endpoint: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Inbound(Order):
    """A user writes: `text`, or the tap on a quick reply (`button_payload`), or any `message` of Meta's shape.

    `sender` is E.164; `context_wamid` is the message that is answered.
    """

    phone_number_id: str
    sender: Annotated[str, StringConstraints(pattern=r"^\+?[1-9][0-9]{6,14}$")]
    text: str | None = None
    button_payload: str | None = None
    button_text: str = "OK"
    message: dict[str, Any] | None = None
    context_wamid: str | None = None
    profile_name: str = "Simulated User"


class NumberChange(Order):
    """What changes about a number; what is left out stays. `refuse_code`: every send is refused so; 0 ends it.

    `fate`: every send gets this fate by name; "" ends it. A change of quality also sends a quality webhook.
    """

    health: Availability | None = None
    quality: Quality | None = None
    status: str | None = None
    token_valid: bool | None = None
    throughput_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    refuse_code: int | None = None
    fate: str | None = None


class TemplateChange(Order):
    """A new status of a template; a webhook tells it."""

    name: str
    language: str
    status: Literal["APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED"]
    reason: str = "NONE"


class WabaChange(Order):
    """A new status of an account; RESTRICTED and DISABLED refuse every send with 368, a webhook tells it."""

    status: Literal["ACTIVE", "RESTRICTED", "DISABLED"]


class AnyWebhook(Order):
    """Any change of any field, signed and sent as it is."""

    waba_id: str
    field: str
    value: dict[str, Any]


def control_router(simulator: Simulator) -> APIRouter:
    """The routes of the simulator itself."""
    router = APIRouter(prefix="/_simulator", tags=["simulator"])
    _scenario_routes(router, simulator)
    _world_routes(router, simulator)
    _account_routes(router, simulator)
    _ledger_routes(router, simulator)
    return router


def _line(simulator: Simulator, phone_number_id: str) -> Line:
    line = simulator.lines.get(phone_number_id)
    if line is None:
        raise HTTPException(404, "the world has no such phone_number_id")
    return line


def _scenario_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/config")
    async def read_config() -> Scenario:
        """The scenario in force."""
        return simulator.scenario

    @router.post("/config")
    async def change_config(change: dict[str, Any]) -> Scenario:
        """Changes the keys given of the scenario; the rest stays."""
        try:
            simulator.set_scenario(Scenario.model_validate({**simulator.scenario.model_dump(), **change}))
        except ValidationError as exc:
            raise HTTPException(422, exc.errors(include_url=False, include_context=False)) from exc
        return simulator.scenario

    @router.get("/fates")
    async def fates() -> dict[str, dict[str, str]]:
        """Every fate by name, and the recipients' suffixes that choose one."""
        return {"suffixes": {suffix: fate.name for suffix, fate in SUFFIXES.items()}, "fates": dict.fromkeys(FATES, "")}

    @router.post("/inbound", status_code=202)
    async def inbound(order: Inbound) -> dict[str, str]:
        """A user writes to a number: the service window opens, a webhook goes out."""
        line = _line(simulator, order.phone_number_id)
        if order.message is not None:
            message = dict(order.message)
        elif order.button_payload is not None:
            message = {"type": "button", "button": {"payload": order.button_payload, "text": order.button_text}}
        elif order.text is not None:
            message = {"type": "text", "text": {"body": order.text}}
        else:
            raise HTTPException(422, "one of text, button_payload, message is needed")
        if order.context_wamid is not None:
            message["context"] = {"from": line.number.digits, "id": order.context_wamid}
        return {"wamid": simulator.receive(line, order.sender.lstrip("+"), message, order.profile_name)}


def _world_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/numbers/{phone_number_id}")
    async def change_number(phone_number_id: str, change: NumberChange) -> dict[str, Any]:
        """Changes a number while it runs."""
        line = _line(simulator, phone_number_id)
        before = line.number.quality
        _change(line, change)
        if line.number.quality != before:
            event = "FLAGGED" if line.number.quality == "RED" else "UNFLAGGED"
            _tell(simulator, line.waba.id, "phone_number_quality_update", _quality_value(line, event))
        return line.number.model_dump(exclude={"token"})


def _account_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/wabas/{waba_id}")
    async def change_waba(waba_id: str, change: WabaChange) -> dict[str, str]:
        """Restricts, disables or reinstates an account."""
        waba = simulator.wabas.get(waba_id)
        if waba is None:
            raise HTTPException(404, "the world has no such account")
        waba.status = change.status
        state = "REINSTATE" if change.status == "ACTIVE" else "DISABLE"
        value = {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state, "waba_ban_date": "April 17, 2026"}}
        _tell(simulator, waba_id, "account_update", value)
        return {"id": waba_id, "status": waba.status}

    @router.post("/wabas/{waba_id}/templates")
    async def change_template(waba_id: str, change: TemplateChange) -> dict[str, str]:
        """Pauses, disables or approves a template."""
        template = simulator.templates.get(waba_id, {}).get((change.name, change.language))
        if template is None:
            raise HTTPException(404, "the account has no such template")
        template.status = change.status
        value = {
            "event": change.status,
            "message_template_id": int(template.id),
            "message_template_name": template.name,
            "message_template_language": template.language,
            "message_template_category": template.category,
            "reason": change.reason,
        }
        _tell(simulator, waba_id, "message_template_status_update", value)
        return {"id": template.id, "status": template.status}

    @router.post("/webhook", status_code=202)
    async def any_webhook(order: AnyWebhook) -> dict[str, bool]:
        """Sends any change, signed."""
        _tell(simulator, order.waba_id, order.field, order.value)
        return {"success": True}


def _change(line: Line, change: NumberChange) -> None:
    if change.fate not in (None, "", *FATES):
        raise HTTPException(422, "no such fate")
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(line.number, name, (value or None) if name in ("fate", "refuse_code") else value)


def _quality_value(line: Line, event: str) -> dict[str, Any]:
    limit = line.number.messaging_limit
    return {
        "display_phone_number": line.number.digits,
        "event": event,
        "max_daily_conversations_per_business": limit,
        "current_limit": limit,
    }


def _tell(simulator: Simulator, waba_id: str, field: str, value: dict[str, Any]) -> None:
    now = simulator.clock()
    seconds = None if field in ("messages", "user_preferences") else int(now)
    simulator.outbox.schedule_body(envelope(waba_id, [{"value": value, "field": field}], seconds), now)


def _ledger_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/ledger")
    async def ledger(
        after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000
    ) -> Response:
        """Accepted messages with a `seq` above `after`; ask again with `next_after` until `entries` is empty."""
        page = simulator.ledger.page(after, limit)
        body = {
            "entries": page,
            "next_after": page[-1].seq if page else after,
            "last_seq": simulator.ledger.last_seq,
        }
        return Response(orjson.dumps(body), media_type="application/json")

    @router.get("/stats")
    async def stats() -> dict[str, Any]:
        """Counts since the ledger began (accepted) and since this process began (the rest)."""
        outbox = simulator.outbox
        return {
            "accepted": simulator.ledger.last_seq,
            "accepted_by_number": dict(simulator.ledger.accepted_by_number),
            "refused": {str(code): count for code, count in simulator.ledger.refused.items()},
            "webhooks": {"pending": outbox.pending, **asdict(outbox.stats)},
        }
