"""One call of a management endpoint: its node, its time, its body, and whether its token may make it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from harkara.graph_simulator.lines import Line
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.simulator import Simulator
from harkara.graph_simulator.world import NumberSpec, WabaSpec

MAX_BODY_BYTES = 1_000_000
"""A template of ten buttons has some 20 KB; Meta's own bound is not published."""


@dataclass(slots=True)
class Call:
    """`usage` becomes X-Business-Use-Case-Usage of the answer."""

    simulator: Simulator
    request: Request
    node: str
    now: float
    usage: str | None = None

    @property
    def token(self) -> str | None:
        """The Authorization header."""
        return self.request.headers.get("authorization")

    def may_manage(self, waba: WabaSpec | None, number: NumberSpec | None) -> Refusal | None:
        """Whether the token may, and whether the account has calls left this hour."""
        simulator = self.simulator
        refusal = simulator.access.authorise(self.token, waba, number)
        if refusal is None and waba is not None:
            per_hour = simulator.scenario.management_calls_per_hour
            refusal = simulator.access.count_call(waba, self.now, per_hour)
            self.usage = simulator.access.usage(waba, self.now, per_hour)
        return refusal

    def account(self) -> WabaSpec | Refusal:
        """The account of the path, if the token may manage it."""
        waba = self.simulator.wabas.get(self.node)
        refusal = self.may_manage(waba, None)
        if refusal is not None or waba is None:
            return refusal or unknown_object(self.node, self.request.method)
        return waba

    def line(self) -> Line | Refusal:
        """The number of the path, if the token may manage it."""
        line = self.simulator.lines.get(self.node)
        refusal = self.may_manage(line.waba if line else None, line.number if line else None)
        if refusal is not None or line is None:
            return refusal or unknown_object(self.node, self.request.method)
        return line

    async def body(self) -> dict[str, object] | Refusal:
        """A JSON object, or the fields of a form or of the query where the body is empty (Graph takes them all)."""
        raw = await self.request.body()
        if len(raw) > MAX_BODY_BYTES:
            return Refusal(100, message="(#100) The request body is too large.")
        kind = self.request.headers.get("content-type", "")
        if raw and "form" in kind:
            try:
                async with self.request.form(max_files=0, max_fields=100) as form:
                    return dict(form.items())
            except HTTPException:  # what starlette makes of a body that is no form
                return Refusal(100, message="(#100) The request body is not a form.")
        if not raw:
            return dict(self.request.query_params.items())
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return Refusal(100, message="(#100) The request body is not valid JSON.")
        if not isinstance(found, dict):
            return Refusal(100, message="(#100) The request body is not a JSON object.")
        return found
