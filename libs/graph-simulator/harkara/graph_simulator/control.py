"""The simulator's own endpoints, /_simulator/...: scenario, inbound messages, ledger, calls, counts."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from harkara.graph_api.media_kinds import kind_of
from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.control_world import line_of, world_routes
from harkara.graph_simulator.lines import Line
from harkara.graph_simulator.media import RECEIVED_SECONDS
from harkara.graph_simulator.scenario import FATES, SUFFIXES, Scenario
from harkara.graph_simulator.simulator import Simulator

MAX_PAGE = 10_000
"""Ledger entries in one answer: about 3 MB."""
MAX_INBOUND_BYTES = 16_000_000
END_OF_TIME_MS = 2**53
"""No bound: the largest integer that every JSON reader keeps."""


class InboundMedia(BaseModel):
    """A file that a user sends: it can be downloaded as Meta's are."""

    model_config = ConfigDict(extra="forbid")

    mime_type: Annotated[str, StringConstraints(max_length=200)]
    content_base64: Annotated[str, StringConstraints(max_length=MAX_INBOUND_BYTES * 4 // 3)]
    caption: str | None = None
    filename: str | None = None


class Inbound(BaseModel):
    """A user writes: `text`, or taps a quick reply (`button_payload`), or sends a file, or any `message` of Meta's.

    `sender` is E.164; `context_wamid` is the message that is answered.
    """

    model_config = ConfigDict(extra="forbid")

    phone_number_id: str
    sender: Annotated[str, StringConstraints(pattern=r"^\+?[1-9][0-9]{6,14}$")]
    text: str | None = None
    button_payload: str | None = None
    button_text: str = "OK"
    media: InboundMedia | None = None
    message: dict[str, Any] | None = None
    context_wamid: str | None = None
    profile_name: str = "Simulated User"


_MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "The world has no such number"}}


def control_router(simulator: Simulator) -> APIRouter:
    """The routes of the simulator itself."""
    router = APIRouter(
        prefix="/_simulator", tags=["simulator"], responses={400: {"description": "It does not fit together"}}
    )
    _scenario_routes(router, simulator)
    world_routes(router, simulator)
    _ledger_routes(router, simulator)
    _call_routes(router, simulator)
    return router


def _scenario_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/config")
    async def read_config() -> Scenario:
        """The scenario in force."""
        return simulator.scenario

    @router.post("/config", responses={422: {"description": "No such key, or no such value"}})
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

    @router.post("/inbound", status_code=202, responses=_MISSING)
    async def inbound(order: Inbound) -> dict[str, str]:
        """A user writes to a number: the service window opens, a webhook goes out."""
        line = line_of(simulator, order.phone_number_id)
        message = _message(simulator, line, order)
        if order.context_wamid is not None:
            message["context"] = {"from": line.number.digits, "id": order.context_wamid}
        return {"wamid": simulator.receive(line, order.sender.lstrip("+"), message, order.profile_name)}


def _message(simulator: Simulator, line: Line, order: Inbound) -> JsonObject:
    if order.message is not None:
        return dict(order.message)
    if order.button_payload is not None:
        return {"type": "button", "button": {"payload": order.button_payload, "text": order.button_text}}
    if order.media is not None:
        return _media_message(simulator, line, order.media)
    if order.text is not None:
        return {"type": "text", "text": {"body": order.text}}
    raise HTTPException(400, "one of text, button_payload, media, message is needed")


def _media_message(simulator: Simulator, line: Line, sent: InboundMedia) -> JsonObject:
    kind = kind_of(sent.mime_type)
    try:
        content = base64.b64decode(sent.content_base64, validate=True)
    except binascii.Error as exc:
        raise HTTPException(400, "content_base64 is not base64") from exc
    name = "document" if kind is None else kind.name
    digest, now = hashlib.sha256(content).hexdigest(), simulator.clock()
    media = simulator.media.add(line.waba.id, sent.mime_type, digest, len(content), now, content, RECEIVED_SECONDS)
    shown = {"caption": sent.caption, "filename": sent.filename}
    part = {"id": media.id, "mime_type": sent.mime_type, "sha256": digest}
    return {"type": name, name: part | {key: value for key, value in shown.items() if value is not None}}


Filter = Annotated[str | None, Query(max_length=600)]
Moment = Annotated[int, Query(ge=0, le=END_OF_TIME_MS)]


def _ledger_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/ledger")
    async def ledger(
        after: Moment = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000,
        phone_number_id: Filter = None,
        to: Filter = None,
        wamid: Filter = None,
        opaque: Filter = None,
        template: Filter = None,
        fate: Filter = None,
        since_ms: Moment = 0,
        until_ms: Moment = END_OF_TIME_MS,
    ) -> Response:
        """Accepted messages with a `seq` above `after`; ask again with `next_after` until `entries` is empty.

        The other parameters choose: by equal fields, and by time of acceptance (`since_ms` <= time < `until_ms`).
        """
        given = {"phone_number_id": phone_number_id, "to": to, "wamid": wamid, "opaque": opaque}
        given |= {"template": template, "fate": fate}
        wanted = {name: value for name, value in given.items() if value is not None}
        if wanted or since_ms or until_ms != END_OF_TIME_MS:
            page = simulator.ledger.find(after, limit, since_ms, until_ms, **wanted)
        else:
            page = simulator.ledger.page(after, limit)
        body = {
            "entries": page,
            "next_after": page[-1].seq if page else after,
            "last_seq": simulator.ledger.last_seq,
        }
        return Response(orjson.dumps(body), media_type="application/json")


def _call_routes(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/calls")
    async def calls(after: Moment = 0, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000) -> Response:
        """Graph calls other than sends with a `seq` above `after`, each with its time and Meta's code if refused."""
        return Response(orjson.dumps({"calls": simulator.calls.page(after, limit)}), media_type="application/json")

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
