"""The numbers as they can be called: token, connections, and the one call of an attempt."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from harkara.contracts.intents import Content
from harkara.dispatcher.pacing import Limits
from harkara.dispatcher.plan import DispatchPolicy, NumberFacts
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.state import Message
from harkara.graph_api.client import GraphClient
from harkara.graph_api.opaque import callback_data
from harkara.graph_api.wire import JsonObject, build_message
from harkara.policy.governance import Governance, Number, Profile

MOST_CONNECTIONS = 256  # per number: 1,000 calls/s hold up to a latency of a quarter second
FEWEST_CONNECTIONS = 8

_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class NoToken(Exception):
    """The number's token is not to be had now."""


def token_of(number: Number) -> str:
    """The number's access token, read anew at each call, so that a rotated one counts at once. Raises NoToken."""
    if number.token_env is not None:
        token = os.environ.get(number.token_env, "")
    else:
        path = number.token_file or Path()
        try:
            token = path.read_text().strip()
        except OSError as error:
            raise NoToken(f"{path}: {error.strerror}") from None
    if not token:
        raise NoToken("empty")
    return token


def facts_of(governance: Governance) -> dict[str, NumberFacts]:
    """What the lanes know of every number."""
    return {number.phone_number_id: _facts(governance, number) for number in governance.numbers}


def _facts(governance: Governance, number: Number) -> NumberFacts:
    profile = governance.profile_of(number)
    return NumberFacts(
        phone_number_id=number.phone_number_id,
        home=governance.home_of(number.phone_number_id) or number.phone_number_id,
        waba_id=number.waba_id,
        limits=limits_of(profile),
        capacity=capacity_of(profile),
        tokens=number.token_env or str(number.token_file),
        usable=has_token(number),
    )


def limits_of(profile: Profile) -> Limits:
    """A profile's figures in seconds."""
    return Limits(
        per_second=profile.per_second,
        per_minute=profile.per_minute,
        per_hour=profile.per_hour,
        per_day=profile.per_day,
        base_delay_seconds=profile.base_delay_ms / 1000,
        max_jitter_seconds=profile.max_jitter_ms / 1000,
    )


def capacity_of(profile: Profile) -> int:
    """Calls under way at once, each with a connection of its own, so none waits for one: a second's worth."""
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, profile.per_second))


def policy_of(governance: Governance) -> DispatchPolicy:
    """The dispatch part in the core's terms."""
    dispatch = governance.dispatch
    return DispatchPolicy(
        in_doubt_timeout_seconds={str(name): seconds for name, seconds in dispatch.in_doubt_timeout_seconds.items()},
        max_attempts=dispatch.max_attempts,
        number_pause_seconds=dispatch.number_pause_minutes * 60,
        request_timeout_seconds=dispatch.request_timeout_seconds,
        lease_seconds=dispatch.lease_seconds,
        version=governance.version,
    )


def has_token(number: Number) -> bool:
    """Whether the token can be read now."""
    try:
        token_of(number)
    except NoToken:
        return False
    return True


class Senders:
    """One GraphClient per number, made at its first call."""

    def __init__(self, settings: Settings, governance: Governance) -> None:
        self._settings = settings
        self._governance = governance
        self._clients: dict[str, GraphClient] = {}

    def client(self, phone_number_id: str) -> GraphClient:
        """The number's own client. Raises KeyError for a number that governance does not have."""
        client = self._clients.get(phone_number_id)
        if client is None:
            number = self._governance.number(phone_number_id)
            if number is None:
                raise KeyError(phone_number_id)
            client = GraphClient(
                self._settings.graph_base_url,
                self._settings.graph_version,
                lambda: token_of(number),
                timeout_seconds=self._governance.dispatch.request_timeout_seconds,
                max_connections=capacity_of(self._governance.profile_of(number)),
            )
            self._clients[phone_number_id] = client
        return client

    def refreshed(self, facts: dict[str, NumberFacts]) -> list[str]:
        """Bring `usable` up to the tokens that can be read now; the numbers for which it changed."""
        changed = []
        for number in self._governance.numbers:
            known, usable = facts[number.phone_number_id], has_token(number)
            if known.usable != usable:
                facts[number.phone_number_id] = replace(known, usable=usable)
                changed.append(number.phone_number_id)
        return changed

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()


def body_of(message: Message) -> JsonObject:
    """The request of the message's newest attempt. Raises ValueError where the plan's form has no content."""
    content = orjson.loads(message.content)
    chosen = content["template" if message.form == "template" else "session"]
    if chosen is None:
        raise ValueError(f"the order has no {message.form} content")
    opaque = callback_data(message.message_id, message.attempt)
    return build_message(content["to"], _CONTENT.validate_python(chosen), opaque)
