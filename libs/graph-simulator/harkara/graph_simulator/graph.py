"""The Graph endpoints of the hot path: sends, and how their answers are spoiled. The others are in `management.py`."""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from harkara.graph_simulator.answers import bad_version, json_answer, refused
from harkara.graph_simulator.faults import DroppedConnection
from harkara.graph_simulator.management import management_routes
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import Fault
from harkara.graph_simulator.simulator import Simulator, Verdict

MAX_BODY_BYTES = 1_000_000
"""A send of the longest body-only template has about 200 KB; Meta's own bound is not published."""
_HTML = b"<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>"
_HTML_STATUS = {Fault.HTML_502_AFTER: 502, Fault.HTML_503_BEFORE: 503, Fault.HTML_429_BEFORE: 429}


def graph_routes(simulator: Simulator) -> list[BaseRoute]:
    """Starlette routes; they bypass FastAPI's parameter machinery, which would cost more than the whole send."""
    sends = _Sends(simulator)
    return [
        Route("/{version}/{node}/messages", sends.send, methods=["POST"]),
        Route("/{version}/{node}/marketing_messages", sends.send_marketing, methods=["POST"]),
        *management_routes(simulator),
    ]


class _Sends:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def send(self, request: Request) -> Response:
        """POST /{phone_number_id}/messages."""
        return await self._send(request, marketing_api=False)

    async def send_marketing(self, request: Request) -> Response:
        """POST /{phone_number_id}/marketing_messages."""
        return await self._send(request, marketing_api=True)

    async def _send(self, request: Request, *, marketing_api: bool) -> Response:
        simulator = self._simulator
        wrong = bad_version(request)
        if wrong is not None:
            return refused(wrong)
        raw = await request.body()
        if len(raw) > MAX_BODY_BYTES:
            return refused(Refusal(100, "The request body is too large."))
        node, token = request.path_params["node"], request.headers.get("authorization")
        answer = simulator.judge(node, token, raw, marketing_api=marketing_api)
        latency_ms = simulator.scenario.latency_ms
        if latency_ms:
            await asyncio.sleep(simulator.fates.delay_seconds(latency_ms))
        if isinstance(answer, Verdict):
            return await self._answer(answer)
        return refused(answer) if isinstance(answer, Refusal) else json_answer(orjson.dumps(answer))

    async def _answer(self, verdict: Verdict) -> Response:
        scenario = self._simulator.scenario
        fault = verdict.fate.fault
        if fault is Fault.NONE:
            return json_answer(verdict.body)
        if fault is Fault.STATUS_FIRST:
            await asyncio.sleep(scenario.status_lead_ms / 1000)
            return json_answer(verdict.body)
        if fault is Fault.ERROR_AFTER:
            assert verdict.fate.refuse_code is not None
            return refused(Refusal(verdict.fate.refuse_code))
        if fault in _HTML_STATUS:
            return Response(_HTML, _HTML_STATUS[fault], media_type="text/html")
        if fault is Fault.EMPTY_AFTER:
            return json_answer(b"")
        if fault is Fault.CUT_AFTER:
            return DroppedConnection(partial=verdict.body[:-20])
        hangs = fault is Fault.HANG_AFTER
        return DroppedConnection(after_seconds=scenario.hang_ms / 1000 if hangs else 0.0)
