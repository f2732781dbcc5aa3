"""The Graph endpoints: /v{N}.0/... as Meta has them, for sending, health, fields, media, numbers and templates."""

from __future__ import annotations

import asyncio
import hashlib
import re

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.faults import DroppedConnection
from harkara.graph_simulator.media import Media, check_upload
from harkara.graph_simulator.nodes import listed, number_node, template_node, waba_node
from harkara.graph_simulator.refusals import Refusal, trace_id, unknown_object
from harkara.graph_simulator.scenario import Fault
from harkara.graph_simulator.simulator import Simulator, Verdict
from harkara.graph_simulator.world import NumberSpec, WabaSpec

MAX_BODY_BYTES = 1_000_000
"""A send of the longest body-only template has about 200 KB; Meta's own bound is not published."""
_VERSION = re.compile(r"^v[0-9]{2}\.0$")
_HTML = b"<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>"
_DELETE = orjson.dumps({"success": True})


def graph_routes(simulator: Simulator) -> list[BaseRoute]:
    """Starlette routes; they bypass FastAPI's parameter machinery, which would cost more than the whole send."""
    graph = _Graph(simulator)
    return [
        Route("/{version}/{node}/messages", graph.send, methods=["POST"]),
        Route("/{version}/{node}/media", graph.upload, methods=["POST"]),
        Route("/{version}/{node}/phone_numbers", graph.phone_numbers, methods=["GET"]),
        Route("/{version}/{node}/message_templates", graph.message_templates, methods=["GET"]),
        Route("/{version}/{node}", graph.read, methods=["GET"]),
        Route("/{version}/{node}", graph.delete, methods=["DELETE"]),
    ]


def refused(refusal: Refusal) -> Response:
    """The answer of a refused call."""
    return _json(refusal.body(), refusal.status, refusal.headers())


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    traced = {"x-fb-trace-id": trace_id(), "facebook-api-version": "v26.0", **(headers or {})}
    return Response(body, status, traced, media_type="application/json; charset=UTF-8")


def _bad_version(request: Request) -> Response | None:
    version = request.path_params["version"]
    if _VERSION.match(version):
        return None
    return refused(Refusal(2500, message=f"Unknown path components: /{version[:40]}", http_status=400))


class _Graph:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def send(self, request: Request) -> Response:
        """POST /{phone_number_id}/messages."""
        simulator = self._simulator
        wrong = _bad_version(request)
        if wrong is not None:
            return wrong
        raw = await request.body()
        if len(raw) > MAX_BODY_BYTES:
            return refused(Refusal(100, "The request body is too large."))
        answer = simulator.judge(request.path_params["node"], request.headers.get("authorization"), raw)
        latency_ms = simulator.scenario.latency_ms
        if latency_ms:
            await asyncio.sleep(simulator.fates.delay_seconds(latency_ms))
        if isinstance(answer, Verdict):
            return await self._answer(answer)
        return refused(answer) if isinstance(answer, Refusal) else _json(orjson.dumps(answer))

    async def _answer(self, verdict: Verdict) -> Response:
        scenario = self._simulator.scenario
        fault = verdict.fate.fault
        if fault is Fault.NONE:
            return _json(verdict.body)
        if fault is Fault.STATUS_FIRST:
            await asyncio.sleep(scenario.status_lead_ms / 1000)
            return _json(verdict.body)
        if fault is Fault.ERROR_AFTER:
            assert verdict.fate.refuse_code is not None
            return refused(Refusal(verdict.fate.refuse_code))
        if fault in (Fault.HTML_502_AFTER, Fault.HTML_503_BEFORE):
            return Response(_HTML, 502 if fault is Fault.HTML_502_AFTER else 503, media_type="text/html")
        if fault is Fault.EMPTY_AFTER:
            return _json(b"")
        if fault is Fault.CUT_AFTER:
            return DroppedConnection(partial=verdict.body[:-20])
        hangs = fault is Fault.HANG_AFTER
        return DroppedConnection(after_seconds=scenario.hang_ms / 1000 if hangs else 0.0)

    async def upload(self, request: Request) -> Response:
        """POST /{phone_number_id}/media (multipart: messaging_product, type, file)."""
        wrong = _bad_version(request)
        if wrong is not None:
            return wrong
        simulator, node = self._simulator, request.path_params["node"]
        line = simulator.lines.get(node)
        refusal = simulator.authorise(
            request.headers.get("authorization"), line.waba if line else None, line.number if line else None
        )
        if refusal is not None or line is None:
            return refused(refusal or unknown_object(node, "POST"))
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if form.get("messaging_product") != "whatsapp":
                return refused(Refusal(100, message="(#100) The parameter messaging_product is required."))
            if not isinstance(file, UploadFile):
                return refused(Refusal(100, message="(#100) The parameter file is required."))
            mime_type = str(form.get("type") or file.content_type or "").split(";")[0].strip()
            refusal = check_upload(mime_type, file.size or 0)
            if refusal is not None:
                return refused(refusal)
            digest = hashlib.sha256()
            while chunk := await file.read(65_536):
                digest.update(chunk)
            media = simulator.media.add(line.waba.id, mime_type, digest.hexdigest(), file.size or 0, simulator.clock())
        return _json(orjson.dumps({"id": media.id}))

    async def phone_numbers(self, request: Request) -> Response:
        """GET /{waba}/phone_numbers."""
        waba = self._account(request)
        if not isinstance(waba, WabaSpec):
            return waba
        rows = [number_node(self._simulator.world, waba, number, ()) for number in waba.numbers]
        return self._list(request, rows)

    async def message_templates(self, request: Request) -> Response:
        """GET /{waba}/message_templates, filtered by name, language, status, category."""
        waba = self._account(request)
        if not isinstance(waba, WabaSpec):
            return waba
        query = request.query_params
        rows = [
            template_node(self._simulator.world, waba, template, ())
            for template in self._simulator.templates[waba.id].values()
        ]
        for name in ("name", "language", "status", "category"):
            rows = [row for row in rows if isinstance(row, dict) and query.get(name, row[name]) == row[name]]
        return self._list(request, rows)

    def _list(self, request: Request, rows: list[JsonObject] | list[JsonObject | Refusal]) -> Response:
        answer = listed(request, [row for row in rows if isinstance(row, dict)])
        return refused(answer) if isinstance(answer, Refusal) else _json(orjson.dumps(answer))

    def _account(self, request: Request) -> WabaSpec | Response:
        wrong = _bad_version(request)
        if wrong is not None:
            return wrong
        waba = self._simulator.wabas.get(request.path_params["node"])
        refusal = self._may_manage(request, waba, None)
        if refusal is not None or waba is None:
            return refused(refusal or unknown_object(request.path_params["node"], "GET"))
        return waba

    def _may_manage(self, request: Request, waba: WabaSpec | None, number: NumberSpec | None) -> Refusal | None:
        refusal = self._simulator.authorise(request.headers.get("authorization"), waba, number)
        if refusal is None and waba is not None:
            refusal = self._simulator.count_management_call(waba)
        return refusal

    async def read(self, request: Request) -> Response:
        """GET /{id}: a number, an account, a template or an upload."""
        wrong = _bad_version(request)
        if wrong is not None:
            return wrong
        simulator, node = self._simulator, request.path_params["node"]
        fields = tuple(field for field in request.query_params.get("fields", "").split(",") if field)
        line, waba = simulator.lines.get(node), simulator.wabas.get(node)
        owner, template = simulator.template_by_id(node)
        media = simulator.media.get(node, simulator.clock())
        media_waba = simulator.wabas[media.waba_id] if media is not None else None
        account = line.waba if line else waba or owner or media_waba
        refusal = self._may_manage(request, account, line.number if line else None)
        if refusal is not None or account is None:
            return refused(refusal or unknown_object(node, "GET"))
        found: JsonObject | Refusal
        if line is not None:
            found = number_node(simulator.world, account, line.number, fields)
        elif template is not None:
            found = template_node(simulator.world, account, template, fields)
        elif media is not None:
            found = _media_node(media)
        else:
            found = waba_node(simulator.world, account, fields)
        return refused(found) if isinstance(found, Refusal) else _json(orjson.dumps(found))

    async def delete(self, request: Request) -> Response:
        """DELETE /{media_id}."""
        wrong = _bad_version(request)
        if wrong is not None:
            return wrong
        simulator, node = self._simulator, request.path_params["node"]
        media = simulator.media.get(node, simulator.clock())
        waba = simulator.wabas[media.waba_id] if media is not None else None
        refusal = simulator.authorise(request.headers.get("authorization"), waba, None)
        if refusal is not None or media is None:
            return refused(refusal or unknown_object(node, "DELETE"))
        simulator.media.delete(node)
        return _json(_DELETE)


def _media_node(media: Media) -> JsonObject:
    return {
        "messaging_product": "whatsapp",
        "url": f"https://lookaside.example.test/whatsapp_business/attachments/?mid={media.id}",
        "mime_type": media.mime_type,
        "sha256": media.sha256,
        "file_size": str(media.size),
        "id": media.id,
    }
