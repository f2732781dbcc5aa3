"""/_simulator/... that changes the world while it runs: numbers, accounts, portfolios, templates, people, webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from harkara.graph_simulator import notices
from harkara.graph_simulator.bodies import JsonObject, envelope, messages_change
from harkara.graph_simulator.lines import Line
from harkara.graph_simulator.outbox import MAX_BATCH, MAX_BODY_BYTES
from harkara.graph_simulator.scenario import DELIVERED_FATE, FATES, Step
from harkara.graph_simulator.simulator import Simulator
from harkara.graph_simulator.statuses import Shape, status_update
from harkara.graph_simulator.world import Availability, Category, Quality, TemplateSpec, TemplateStatus, Tier, WabaSpec

WORST_CODE = 10_000_000


class Order(BaseModel):
    """A body of a control endpoint: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class NumberChange(Order):
    """What changes about a number; what is left out stays. `refuse_code`: every send is refused so; 0 ends it.

    `fate`: every send gets this fate by name; "" ends it. A change of quality, name_status or messaging_limit sends its
    webhook. `upgrade_throughput`: the number goes to 1,000 a second, with 131057 meanwhile.
    """

    health: Availability | None = None
    quality: Quality | None = None
    status: Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,40}$")] | None = None
    name_status: Literal["APPROVED", "DECLINED", "PENDING_REVIEW"] | None = None
    messaging_limit: Tier | None = None
    coexistence: bool | None = None
    token_valid: bool | None = None
    throughput_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    refuse_code: Annotated[int, Field(ge=0, le=WORST_CODE)] | None = None
    fate: str | None = None
    upgrade_throughput: bool = False


class WabaChange(Order):
    """What changes about an account. RESTRICTED and DISABLED refuse every send with 368, and a webhook tells it.

    `restrictions`: `restriction_type`s that a webhook tells, for `restriction_hours` (real ones).
    """

    status: Literal["ACTIVE", "RESTRICTED", "DISABLED"] | None = None
    verified: bool | None = None
    payment_method: bool | None = None
    marketing_disabled: bool | None = None
    blocked_countries: tuple[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}$")], ...] | None = None
    restrictions: Annotated[tuple[Annotated[str, StringConstraints(max_length=100)], ...], Field(max_length=10)] = ()
    restriction_hours: Annotated[float, Field(gt=0, le=720)] = 72


class PortfolioChange(Order):
    """A new messaging limit of a portfolio, told by `business_capability_update` to each of its accounts."""

    messaging_limit: Tier


class TemplateChange(Order):
    """A new status, quality or category of a template; a webhook tells each.

    RED pauses it (3 h, 6 h, then it is disabled); `notice`: the category changes after 24 hours only.
    """

    name: str
    language: str
    status: TemplateStatus | None = None
    reason: str = "NONE"
    quality: Quality | None = None
    category: Category | None = None
    notice: bool = False


class PersonChange(Order):
    """What is known of a person. `marketing`: they stop or resume it in the app, towards `phone_number_id`."""

    on_whatsapp: bool | None = None
    blocks_business: bool | None = None
    in_experiment: bool | None = None
    username_only: bool | None = None
    identity_hash: str | None = None
    marketing: Literal["stop", "resume"] | None = None
    phone_number_id: str | None = None


class AnyWebhook(Order):
    """Any change of any field, signed and sent as it is."""

    waba_id: str
    field: str
    value: dict[str, Any]


class Burst(Order):
    """One POST that repeats `delivered` of the newest accepted messages of a number, filled up to `body_bytes`."""

    phone_number_id: str
    updates: Annotated[int, Field(ge=1, le=MAX_BATCH)] = MAX_BATCH
    body_bytes: Annotated[int, Field(ge=0, le=MAX_BODY_BYTES)] = 0


def line_of(simulator: Simulator, phone_number_id: str) -> Line:
    """The number; raises HTTPException 404."""
    line = simulator.lines.get(phone_number_id)
    if line is None:
        raise HTTPException(404, "the world has no such phone_number_id")
    return line


def _waba_of(simulator: Simulator, waba_id: str) -> WabaSpec:
    waba = simulator.wabas.get(waba_id)
    if waba is None:
        raise HTTPException(404, "the world has no such account")
    return waba


def world_routes(router: APIRouter, simulator: Simulator) -> None:
    """Adds the routes."""
    _number_routes(router, simulator)
    _account_routes(router, simulator)
    _person_routes(router, simulator)
    _webhook_routes(router, simulator)


_MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "The world has none such"}}


def _number_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/numbers/{phone_number_id}", responses=_MISSING)
    async def change_number(phone_number_id: str, change: NumberChange) -> dict[str, Any]:
        """Changes a number while it runs."""
        line = line_of(simulator, phone_number_id)
        if change.fate not in (None, "", *FATES):
            raise HTTPException(400, "no such fate")
        _change_number(simulator, line, change)
        return line.number.model_dump(exclude={"token", "pin"})


def _change_number(simulator: Simulator, line: Line, change: NumberChange) -> None:
    number, waba = line.number, line.waba
    told = {"quality", "messaging_limit", "name_status", "upgrade_throughput"}
    for name, value in change.model_dump(exclude_none=True, exclude=told).items():
        setattr(number, name, (value or None) if name in ("fate", "refuse_code") else value)
    if change.quality is not None:
        simulator.feedback.set_number_quality(waba, number, change.quality)
    if change.messaging_limit is not None:
        number.messaging_limit = change.messaging_limit
        simulator.tell(waba.id, "business_capability_update", notices.capability(change.messaging_limit))
    if change.name_status is not None:
        number.name_status = change.name_status
        decision = {"APPROVED": "APPROVED", "DECLINED": "REJECTED", "PENDING_REVIEW": "PENDING"}[change.name_status]
        reason = "NAME_FORMAT_UNACCEPTABLE" if decision == "REJECTED" else None
        simulator.tell(waba.id, "phone_number_name_update", notices.name_decision(number, decision, reason))
    if change.upgrade_throughput:
        simulator.upgrade_throughput(line)


def _account_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/wabas/{waba_id}", responses=_MISSING)
    async def change_waba(waba_id: str, change: WabaChange) -> dict[str, Any]:
        """Restricts, disables or reinstates an account, or changes what it may do."""
        waba = _waba_of(simulator, waba_id)
        _change_waba(simulator, waba, change)
        return {"id": waba_id, "status": waba.status}

    @router.post("/portfolios/{portfolio}", responses=_MISSING)
    async def change_portfolio(portfolio: str, change: PortfolioChange) -> dict[str, str]:
        """Gives every number of the portfolio another messaging limit."""
        wabas = [waba for waba in simulator.world.wabas if waba.portfolio == portfolio]
        if not wabas:
            raise HTTPException(404, "the world has no such portfolio")
        for waba in wabas:
            for number in waba.numbers:
                number.messaging_limit = change.messaging_limit
            simulator.tell(waba.id, "business_capability_update", notices.capability(change.messaging_limit))
        return {"id": portfolio, "messaging_limit": change.messaging_limit}

    @router.post("/wabas/{waba_id}/templates", responses=_MISSING)
    async def change_template(waba_id: str, change: TemplateChange) -> dict[str, str]:
        """Pauses, disables, approves, rates or re-categorises a template."""
        waba = _waba_of(simulator, waba_id)
        template = simulator.templates.by_account[waba_id].get((change.name, change.language))
        if template is None:
            raise HTTPException(404, "the account has no such template")
        _change_template(simulator, waba, template, change)
        shown = {"quality": template.quality, "category": template.category}
        return {"id": template.id, "status": template.status, **shown}


def _change_waba(simulator: Simulator, waba: WabaSpec, change: WabaChange) -> None:
    now = simulator.advance()
    plain = {"status", "restrictions", "restriction_hours"}
    for name, value in change.model_dump(exclude_none=True, exclude=plain).items():
        setattr(waba, name, value)
    if change.restrictions:
        value = notices.restriction(change.restrictions, now + change.restriction_hours * 3600)
        simulator.tell(waba.id, "account_update", value)
    if change.status is not None:
        waba.status = change.status
        state = "REINSTATE" if change.status == "ACTIVE" else "DISABLE"
        date = datetime.fromtimestamp(now, UTC).strftime("%B %d, %Y")
        simulator.tell(waba.id, "account_update", notices.ban(state, date))


def _change_template(simulator: Simulator, waba: WabaSpec, template: TemplateSpec, change: TemplateChange) -> None:
    now, book = simulator.advance(), simulator.templates
    if change.status is not None:
        book.set_status(waba, template, change.status, change.reason, now)
    if change.quality is not None:
        book.set_quality(waba, template, change.quality, now)
    if change.category is not None:
        book.set_category(waba, template, change.category, now, notice=change.notice)


def _person_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/people/{wa_id}", responses=_MISSING)
    async def change_person(wa_id: str, change: PersonChange) -> dict[str, Any]:
        """What is known of a person; what is left out stays."""
        line = line_of(simulator, change.phone_number_id) if change.phone_number_id is not None else None
        if (change.marketing is None) != (line is None):
            raise HTTPException(400, "marketing and phone_number_id go together")
        person = simulator.people.known(wa_id)
        for name, value in change.model_dump(exclude_none=True, exclude={"marketing", "phone_number_id"}).items():
            setattr(person, name, value)
        if line is not None and change.marketing is not None:
            simulator.set_preference(line, wa_id, change.marketing)
        return {"wa_id": wa_id, "on_whatsapp": person.on_whatsapp, "stopped_marketing": person.stopped_marketing}


def _webhook_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/webhook", status_code=202)
    async def any_webhook(order: AnyWebhook) -> dict[str, bool]:
        """Sends any change, signed."""
        simulator.tell(order.waba_id, order.field, order.value)
        return {"success": True}

    @router.post("/webhook/burst", status_code=202, responses=_MISSING)
    async def burst(order: Burst) -> dict[str, int]:
        """Sends one large POST: repeated statuses, as Meta's retries bring them."""
        line = line_of(simulator, order.phone_number_id)
        body, updates = _burst(simulator, line, order)
        if updates:
            simulator.outbox.schedule_body(body, simulator.clock(), updates)
        return {"updates": updates}


def _burst(simulator: Simulator, line: Line, order: Burst) -> tuple[JsonObject, int]:
    now, step = simulator.advance(), Step("delivered", "delivered")
    entries = [
        entry
        for entry in simulator.ledger.newest(order.updates)
        if entry.phone_number_id == line.number.phone_number_id
    ]
    statuses = [
        status_update(line.waba.id, line.number, entry, DELIVERED_FATE, step, now, Shape()).content for entry in entries
    ]
    change = messages_change(line.number, statuses=statuses)
    body = envelope(line.waba.id, [change])
    if order.body_bytes:
        change["value"]["padding"] = "x" * max(0, order.body_bytes - 1_000 - 600 * len(statuses))
    return body, len(statuses)
