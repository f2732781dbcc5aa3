"""The numbers as they can be called: token, connections, and the one call of an attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pydantic import TypeAdapter

from harkara.contracts.intents import Content, Template
from harkara.contracts.partition import partition_for
from harkara.dispatcher.plan import DispatchPolicy, NumberFacts
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.state import Message
from harkara.dispatcher.tokens import Tokens
from harkara.graph_api.client import GraphClient
from harkara.graph_api.opaque import callback_data
from harkara.graph_api.wire import JsonObject, build_message
from harkara.policy.contacts import rules_of
from harkara.policy.governance import Governance, Number, Profile
from harkara.policy.language import spoken_in
from harkara.policy.pacing import limits_of

MOST_CONNECTIONS = 320  # per number: 1,000 calls/s, some decided ahead, hold up to a latency of a quarter second
FEWEST_CONNECTIONS = 8
RETIRED_SECONDS = 5.0  # beyond the request timeout: a call that began just before the change has surely ended

_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def facts_of(governance: Governance, tokens: Tokens, partitions: int) -> dict[str, NumberFacts]:
    """What the lanes know of every number."""
    return {number.phone_number_id: _facts(governance, number, tokens, partitions) for number in governance.numbers}


def _facts(governance: Governance, number: Number, tokens: Tokens, partitions: int) -> NumberFacts:
    profile = governance.profile_of(number)
    home = governance.home_of(number.phone_number_id) or number.phone_number_id
    mark = tokens.mark(number)
    return NumberFacts(
        phone_number_id=number.phone_number_id,
        home=home,
        waba_id=number.waba_id,
        limits=limits_of(profile),
        capacity=capacity_of(profile),
        token=mark,
        usable=bool(mark),
        portfolio_id=number.portfolio_id,
        limited=number.portfolio_id in {portfolio.id for portfolio in governance.portfolios},
        partition=partition_for(home, partitions),
    )


def capacity_of(profile: Profile) -> int:
    """Calls under way at once, each with a connection of its own, so none waits for one: a second's worth."""
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, profile.per_second))


def policy_of(governance: Governance) -> DispatchPolicy:
    """The dispatch part in the core's terms."""
    dispatch = governance.dispatch
    return DispatchPolicy(
        in_doubt_timeout_seconds={str(name): seconds for name, seconds in dispatch.in_doubt_timeout_seconds.items()},
        resent_categories=frozenset(name for name, word in dispatch.in_doubt_policy.items() if word == "resend"),
        max_attempts=dispatch.max_attempts,
        number_pause_seconds=dispatch.number_pause_minutes * 60,
        request_timeout_seconds=dispatch.request_timeout_seconds,
        lease_seconds=dispatch.lease_seconds,
        weights=dispatch.weights,
        contacts=rules_of(governance.compliance),
        version=governance.version,
        templates=governance.templates,
    )


class Senders:
    """One GraphClient per number, made at its first call: own token, own way out, own connections."""

    def __init__(self, settings: Settings, governance: Governance, tokens: Tokens) -> None:
        self._settings = settings
        self._governance = governance
        self._tokens = tokens
        self._clients: dict[str, GraphClient] = {}
        self._retired: list[tuple[float, GraphClient]] = []

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
                lambda: self._tokens.of(number),
                timeout_seconds=self._governance.dispatch.request_timeout_seconds,
                max_connections=capacity_of(self._governance.profile_of(number)),
                local_address=None if number.local_address is None else str(number.local_address),
                proxy=number.proxy,
            )
            self._clients[phone_number_id] = client
        return client

    def follow(self, governance: Governance) -> None:
        """The policy is another one. A number whose connections are to be more or fewer gets a new client at its next
        call; the old one is closed once its calls have surely ended."""
        before, self._governance = self._governance, governance
        ended_at = asyncio.get_running_loop().time() + governance.dispatch.request_timeout_seconds + RETIRED_SECONDS
        for phone_number_id in list(self._clients):
            old, new = before.number(phone_number_id), governance.number(phone_number_id)
            if old is None or new is None:
                continue
            if capacity_of(before.profile_of(old)) != capacity_of(governance.profile_of(new)):
                self._retired.append((ended_at, self._clients.pop(phone_number_id)))

    async def close_retired(self) -> None:
        """Close the clients that `follow` put aside and whose time is over."""
        now = asyncio.get_running_loop().time()
        over = [client for at, client in self._retired if at <= now]
        self._retired = [(at, client) for at, client in self._retired if at > now]
        for client in over:
            await client.aclose()

    def refreshed(self, facts: dict[str, NumberFacts]) -> list[str]:
        """Bring the facts up to the tokens that can be read now; the numbers that have another one, or none."""
        changed = []
        for number in self._governance.numbers:
            known, mark = facts[number.phone_number_id], self._tokens.mark(number)
            if known.token != mark:
                facts[number.phone_number_id] = replace(known, token=mark, usable=bool(mark))
                changed.append(number.phone_number_id)
        return changed

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (*self._clients.values(), *(client for _, client in self._retired)):
            await client.aclose()


def body_of(message: Message) -> JsonObject:
    """The request of the message's newest attempt. Raises ValueError where the plan's form has no content."""
    content = message.content
    chosen = content.get("template" if message.form == "template" else "session")
    if chosen is None:
        raise ValueError(f"the order has no {message.form} content")
    opaque, said = callback_data(message.message_id, message.attempt), _CONTENT.validate_python(chosen)
    if isinstance(said, Template) and said.variants and message.course.template is not None:  # else in one language
        said = spoken_in(said, message.course.template.partition(":")[2])
    return build_message(content.get("to"), said, opaque, user_id=content.get("user_id"))
