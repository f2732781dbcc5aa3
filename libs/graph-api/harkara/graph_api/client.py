"""The client of one number's Graph API: one POST, asked once, classified; and the two reads that health needs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from harkara.graph_api.egress import CALL, Call, GraphTransport, LeasedTransport
from harkara.graph_api.outcome import InDoubt, LeaseLost, NotSent, Outcome, classify_exception, classify_response
from harkara.graph_api.wire import HealthStatus, JsonObject, PhoneNumber

MAX_ANSWER_BYTES = 262_144
"""Meta's answers to these calls have a few kilobytes; what is longer is not one of them."""


class GraphReadFailed(Exception):
    """A read brought no usable answer. `outcome` says why; Refused has Meta's error and policy."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


class GraphClient:
    """Calls of one token holder, normally one phone number: its own connections, its own limit.

    `token_provider` is asked at every call, so a rotated token counts from the next one; the token travels in the
    Authorization header alone and is in no URL, log or repr. `timeout_seconds` is a total from the wish to send to the
    last byte of the answer, `connect_timeout_seconds` the part of it that may pass before a connection is at hand.
    No call is ever repeated here. `transport` replaces the network (tests).
    """

    def __init__(
        self,
        base_url: str,
        version: str,
        token_provider: Callable[[], str],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_seconds: float = 30.0,
        connect_timeout_seconds: float = 5.0,
        max_connections: int = 64,  # 1,000 calls/s at 60 ms need 60
        keepalive_seconds: float = 10.0,  # well before the 15 s at which servers of ours close
        local_address: str | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/{version}"
        self._token_provider = token_provider
        self._timeout_seconds = timeout_seconds
        self._phases = httpx.Timeout(None, connect=connect_timeout_seconds, pool=connect_timeout_seconds)
        way_out = (
            LeasedTransport(transport)
            if transport is not None
            else GraphTransport(
                max_connections=max_connections,
                keepalive_seconds=keepalive_seconds,
                connect_timeout_seconds=connect_timeout_seconds,
                local_address=local_address,
                verify=verify,
            )
        )
        self._http = httpx.AsyncClient(transport=way_out, trust_env=False, follow_redirects=False)

    def __repr__(self) -> str:
        return f"GraphClient({self._base!r})"

    async def aclose(self) -> None:
        """Closes every connection; calls under way end in doubt."""
        await self._http.aclose()

    async def send(
        self, phone_number_id: str, body: JsonObject, *, before_call: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """One `POST /{phone_number_id}/messages`; always an Outcome, whatever happens but cancellation.

        `before_call` is asked once, when a connection is at hand and nothing is written; False ends the call as
        NotSent("lease"). It must not block. A caller that cancels the task must treat the call as in doubt.
        """
        request = self._request("POST", f"{quote(phone_number_id, safe='')}/messages", content=orjson.dumps(body))
        answer = await self._perform(request, Call(before_call))
        return (
            classify_response(answer.status, answer.headers, answer.body) if isinstance(answer, RawAnswer) else answer
        )

    async def health_status(self, node: str) -> HealthStatus:
        """`health_status` of a number, an account or a template. Raises GraphReadFailed."""
        answer = await self._read(node, ("health_status",))
        return _parsed(HealthStatus, answer.get("health_status"))

    async def phone_number(self, phone_number_id: str, fields: Iterable[str] = ()) -> PhoneNumber:
        """The fields asked for (none: Meta's default four) of a phone number. Raises GraphReadFailed."""
        return _parsed(PhoneNumber, await self._read(phone_number_id, tuple(fields)))

    async def _read(self, node: str, fields: tuple[str, ...]) -> JsonObject:
        request = self._request("GET", quote(node, safe=""), params={"fields": ",".join(fields)} if fields else None)
        raw = await self._perform(request, Call(lambda: True))
        if not isinstance(raw, RawAnswer):
            raise GraphReadFailed(raw)
        if raw.status != 200:
            raise GraphReadFailed(classify_response(raw.status, raw.headers, raw.body))
        try:
            answer = orjson.loads(raw.body)
        except orjson.JSONDecodeError as exc:
            raise GraphReadFailed(InDoubt("answer")) from exc
        if not isinstance(answer, dict):
            raise GraphReadFailed(InDoubt("answer"))
        return answer

    def _request(
        self, method: str, path: str, content: bytes | None = None, params: dict[str, str] | None = None
    ) -> httpx.Request:
        headers = {"Authorization": f"Bearer {self._token_provider()}", "Accept-Encoding": "identity"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._http.build_request(
            method, f"{self._base}/{path}", headers=headers, content=content, params=params, timeout=self._phases
        )

    async def _perform(self, request: httpx.Request, call: Call) -> RawAnswer | Outcome:
        request.extensions[CALL] = call
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.send(request, stream=True)
                try:
                    return RawAnswer(response.status_code, response.headers, await _bounded_body(response))
                finally:
                    await response.aclose()
        except TimeoutError:
            return InDoubt("timeout") if call.connection_at_hand else NotSent("connect")
        except (LeaseLost, httpx.HTTPError, httpx.InvalidURL) as exc:
            return classify_exception(exc)
        except Exception:
            if call.connection_at_hand:  # whatever it was, it came after the request may have left
                return InDoubt("connection")
            raise  # nothing has left: a mistake of ours (or of before_call) shows itself


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer that arrived whole."""

    status: int
    headers: httpx.Headers
    body: bytes


class _AnswerTooLong(httpx.TransportError):
    """The answer is longer than MAX_ANSWER_BYTES: not Meta's."""


async def _bounded_body(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise _AnswerTooLong("answer too long")
        parts.append(part)
    return b"".join(parts)


_Model = TypeVar("_Model", bound=BaseModel)


def _parsed(model: type[_Model], answer: object) -> _Model:
    try:
        return model.model_validate(answer)
    except ValidationError as exc:
        raise GraphReadFailed(InDoubt("answer")) from exc
