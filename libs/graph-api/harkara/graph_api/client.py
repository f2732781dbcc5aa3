"""The client of one number's Graph API: one POST, asked once, classified; and the reads that health and
templates need."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, urlencode

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from harkara.graph_api.egress import (
    MAX_ANSWER_BYTES,
    Call,
    GraphTransport,
    LeasedTransport,
    RawAnswer,
    WayOut,
)
from harkara.graph_api.outcome import (
    IMPOSSIBLE,
    InDoubt,
    LeaseLost,
    NotSent,
    Outcome,
    classify_exception,
    classify_response,
)
from harkara.graph_api.templates import TEMPLATE_FIELDS, TemplatePage
from harkara.graph_api.wire import HealthStatus, JsonObject, PhoneNumber

__all__ = ["MAX_ANSWER_BYTES", "GraphClient", "GraphReadFailed"]


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
    No send is ever repeated here. `transport` replaces the network (tests).
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
        proxy: str | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/{version}"
        self._token_provider = token_provider
        self._timeout_seconds = timeout_seconds
        self._token = ""
        self._headers: dict[str, str] = {}
        self._way_out: WayOut = (
            LeasedTransport(transport)
            if transport is not None
            else GraphTransport(
                max_connections=max_connections,
                keepalive_seconds=keepalive_seconds,
                connect_timeout_seconds=connect_timeout_seconds,
                local_address=local_address,
                proxy=proxy,
                verify=verify,
            )
        )

    def __repr__(self) -> str:
        return f"GraphClient({self._base!r})"

    async def aclose(self) -> None:
        """Closes every connection; calls under way end in doubt."""
        await self._way_out.aclose()

    async def send(
        self,
        phone_number_id: str,
        body: JsonObject,
        *,
        before_call: Callable[[], bool] = lambda: True,
        in_time: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """One `POST /{phone_number_id}/messages`; always an Outcome, whatever happens but cancellation.

        `before_call` is asked once, when a connection is at hand and nothing is written, `in_time` in the same step, as
        the first byte is about to leave; False of either ends the call as NotSent("lease"). Neither must block. A
        caller that cancels the task must treat the call as in doubt.
        """
        url = f"{self._base}/{_segment(phone_number_id)}/messages"
        answer = await self._perform(Call(before_call, in_time), "POST", url, orjson.dumps(body))
        return (
            classify_response(answer.status, answer.headers, answer.body) if isinstance(answer, RawAnswer) else answer
        )

    async def show_typing(
        self, phone_number_id: str, wamid: str, *, before_call: Callable[[], bool] = lambda: True
    ) -> bool:
        """Mark the person's message as read and show them that somebody types, until the answer or for 25 s (Meta,
        typing indicators); whether Meta says that it did."""
        body = {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": wamid,
            "typing_indicator": {"type": "text"},
        }
        url = f"{self._base}/{_segment(phone_number_id)}/messages"
        answer = await self._perform(Call(before_call), "POST", url, orjson.dumps(body))
        return isinstance(answer, RawAnswer) and answer.status == 200

    async def health_status(self, node: str) -> HealthStatus:
        """`health_status` of a number, an account or a template. Raises GraphReadFailed."""
        answer = await self._read(node, ("health_status",))
        return _parsed(HealthStatus, answer.get("health_status"))

    async def phone_number(self, phone_number_id: str, fields: Iterable[str] = ()) -> PhoneNumber:
        """The fields asked for (none: Meta's default four) of a phone number. Raises GraphReadFailed."""
        return _parsed(PhoneNumber, await self._read(phone_number_id, tuple(fields)))

    async def message_templates(self, waba_id: str, *, limit: int, after: str | None = None) -> TemplatePage:
        """One page of an account's templates, the one behind the cursor `after`. Raises GraphReadFailed."""
        query = {"fields": ",".join(TEMPLATE_FIELDS), "limit": str(limit)} | ({} if after is None else {"after": after})
        return _parsed(TemplatePage, await self._get(f"{_segment(waba_id)}/message_templates?{urlencode(query)}"))

    async def _read(self, node: str, fields: tuple[str, ...]) -> JsonObject:
        query = f"?{urlencode({'fields': ','.join(fields)})}" if fields else ""
        return await self._get(f"{_segment(node)}{query}")

    async def _get(self, path: str) -> JsonObject:
        raw = await self._perform(Call(lambda: True), "GET", f"{self._base}/{path}", None)
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

    def _headers_now(self) -> dict[str, str]:
        """Made anew only when the token is another one."""
        token = self._token_provider()
        if token != self._token or not self._headers:
            self._token = token
            self._headers = {
                "Authorization": f"Bearer {token}",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": "harkara",
            }
        return self._headers

    async def _perform(self, call: Call, method: str, url: str, content: bytes | None) -> RawAnswer | Outcome:
        headers = self._headers_now()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._way_out.ask(call, method, url, headers, content)
        except TimeoutError:
            return InDoubt("timeout") if call.left else NotSent("connect")
        except (LeaseLost, httpx.HTTPError, httpx.InvalidURL) as exc:
            return classify_exception(exc)
        except Exception as exc:
            if call.left:  # whatever it was, it came after the request may have left
                return InDoubt("connection")
            if call.asked or not isinstance(exc, ValueError):
                raise  # a mistake of before_call, or another of ours, shows itself
            return NotSent(IMPOSSIBLE)  # the HTTP client refuses to make it of this address and these headers


@lru_cache(maxsize=10_000)  # numbers of a process, each asked for at every call
def _segment(node: str) -> str:
    return quote(node, safe="")


_Model = TypeVar("_Model", bound=BaseModel)


def _parsed(model: type[_Model], answer: object) -> _Model:
    try:
        return model.model_validate(answer)
    except ValidationError as exc:
        raise GraphReadFailed(InDoubt("answer")) from exc
