"""quality-monitor on a real broker, asking the Graph simulator: what readers of number-state see."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.contracts.event import Event, event_id
from harkara.contracts.numbers import NumberCommand, NumberEvent, NumberState
from harkara.contracts.partition import partition_for
from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent, PortfolioLease
from harkara.contracts.topics import (
    NUMBER_COMMANDS,
    NUMBER_EVENTS,
    NUMBER_STATE,
    PORTFOLIO_EVENTS,
    PORTFOLIO_LEASES,
    Topic,
)
from harkara.graph_api.client import GraphClient
from harkara.graph_simulator import settings as simulator_settings
from harkara.graph_simulator.app import build_app, build_simulator
from harkara.policy.governance import Number
from harkara.quality_monitor.app import components
from harkara.quality_monitor.settings import Settings
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import Output
from tests.support.kafka import read_all
from tests.support.services import isolated, running, write
from tests.support.wait import eventually

GOVERNANCE = """
numbers:
  - {phone_number_id: "100000000000001", display_phone_number: "+919999990001", waba_id: "112233445566778",
     portfolio_id: "998877665544332", token_env: HARKARA_TOKEN_1}
  - {phone_number_id: "100000000000002", display_phone_number: "+919999990002", waba_id: "112233445566778",
     portfolio_id: "998877665544332", token_env: HARKARA_TOKEN_2}
  - {phone_number_id: "100000000000003", display_phone_number: "+919999990003", waba_id: "112233445566778",
     portfolio_id: "998877665544332", token_env: HARKARA_TOKEN_3}
pools:
  - {name: advisors, numbers: ["100000000000002", "100000000000003"]}
compliance: {consent_mode: opt_out}
telemetry: {health_poll_seconds: 5}
portfolios: [{id: "998877665544332", limit: 250}]
"""
PORTFOLIO = "998877665544332"
ONE, TWO, THREE = "100000000000001", "100000000000002", "100000000000003"
TOKENS = {ONE: "EAATEST-one", TWO: "EAATEST-two", THREE: "EAATEST-three"}


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Settings:
    policy = tmp_path / "governance.yaml"
    policy.write_text(GOVERNANCE)
    return await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=policy)


class Meta:
    """The simulator in this process; `tokens` is what the numbers ask with, `asked` who was asked about."""

    def __init__(self) -> None:
        self.transport = httpx.ASGITransport(app=build_app(build_simulator(simulator_settings.Settings())))
        self.tokens = dict(TOKENS)
        self.asked: list[str] = []

    def client_of(self, number: Number) -> GraphClient:
        def token() -> str:
            self.asked.append(number.phone_number_id)
            return self.tokens[number.phone_number_id]

        return GraphClient("http://graph", "v26.0", token, transport=self.transport)

    async def limit(self, tier: str) -> None:
        async with httpx.AsyncClient(transport=self.transport, base_url="http://graph") as http:
            told = await http.post(f"/_simulator/portfolios/{PORTFOLIO}", json={"messaging_limit": tier})
            told.raise_for_status()

    async def change(self, phone_number_id: str, **change: Any) -> None:
        async with httpx.AsyncClient(transport=self.transport, base_url="http://graph") as http:
            (await http.post(f"/_simulator/numbers/{phone_number_id}", json=change)).raise_for_status()


def monitored(settings: Settings, meta: Meta) -> AbstractAsyncContextManager[object]:
    """quality-monitor, asking this Meta."""
    return running(components(settings, SystemClock(), meta.client_of))


async def states(settings: Settings) -> dict[str, NumberState]:
    newest: dict[str, NumberState] = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(NUMBER_STATE)):
        assert record.key is not None
        assert record.value is not None
        state = NumberState.model_validate_json(record.value)
        assert record.key.decode() == state.phone_number_id
        assert record.partition == partition_for(state.home, settings.partitions)
        before = newest.get(state.phone_number_id)
        assert before is None or before.version <= state.version
        newest[state.phone_number_id] = state
    return newest


async def say(settings: Settings, topic: Topic, home: str, event: Event) -> None:
    await write(settings, [Output(topic, home, home, event, event_id(event), datetime.now(UTC))])


async def operator(settings: Settings, kind: str, phone_number_id: str, home: str) -> None:
    command = NumberCommand.model_validate(
        {
            "command_id": f"{kind}-{phone_number_id}",
            "phone_number_id": phone_number_id,
            "home": home,
            "kind": kind,
            "actor": "asha",
            "at": datetime.now(UTC),
        }
    )
    await say(settings, NUMBER_COMMANDS, home, command)


def verdicts_are(settings: Settings, **wanted: str) -> Callable[[], Any]:
    async def as_wanted() -> bool:
        found = await states(settings)
        return {f"n{each[-1]}": state.verdict for each, state in found.items()} == wanted

    return as_wanted


async def lease(settings: Settings) -> PortfolioLease | None:
    """The newest one."""
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(PORTFOLIO_LEASES))
    found = [PortfolioLease.model_validate_json(record.value or b"") for record in records]
    return max(found, key=lambda each: each.version, default=None)


def lease_says(settings: Settings, limit: int, **granted: int) -> Callable[[], Any]:
    async def so() -> bool:
        newest = await lease(settings)
        units = {} if newest is None else {home: account.granted for home, account in newest.homes.items()}
        return newest is not None and newest.limit == limit and units == granted

    return so


async def want(settings: Settings, home: str, wanted: int) -> None:
    fields = {"portfolio_id": PORTFOLIO, "kind": "wanted", "at": datetime.now(UTC), "home": home, "wanted": wanted}
    await say(settings, PORTFOLIO_EVENTS, PORTFOLIO, PortfolioEvent.model_validate(fields))


@pytest.mark.req("FHL-1", "FHL-2")
async def test_metas_answers_become_verdicts_and_only_an_operator_ends_a_block(settings: Settings) -> None:
    meta = Meta()
    async with monitored(settings, meta):
        await eventually(verdicts_are(settings, n1="open", n2="open", n3="open"), timeout_seconds=60)

        async def all_available() -> bool:
            return {state.availability for state in (await states(settings)).values()} == {"AVAILABLE"}

        await eventually(all_available, timeout_seconds=30)
        await eventually(lease_says(settings, UNLIMITED), timeout_seconds=30)  # Meta's word stands above the policy's
        await meta.limit("TIER_50")
        await meta.change(ONE, health="BLOCKED")
        await meta.change(TWO, health="LIMITED")
        await meta.change(THREE, quality="RED")
        bad = verdicts_are(settings, n1="halted", n2="pause_proactive", n3="pause_proactive")
        await eventually(bad, timeout_seconds=30)
        await eventually(lease_says(settings, 50), timeout_seconds=30)
        await want(settings, "advisors", 70)
        await eventually(lease_says(settings, 50, advisors=50), timeout_seconds=30)
        await meta.change(ONE, health="AVAILABLE")
        await meta.change(TWO, health="AVAILABLE")
        await meta.change(THREE, quality="GREEN")
        await eventually(verdicts_are(settings, n1="halted", n2="open", n3="open"), timeout_seconds=30)
    async with monitored(settings, meta):  # the latch outlives the process
        meta.asked.clear()
        await eventually(lambda: ONE in meta.asked, timeout_seconds=60)
        assert (await states(settings))[ONE].verdict == "halted"
        await want(settings, "other", 5)  # the new owner knows that all is granted
        await eventually(lease_says(settings, 50, advisors=50, other=0), timeout_seconds=30)
        await operator(settings, "resume", ONE, ONE)
        await eventually(verdicts_are(settings, n1="open", n2="open", n3="open"), timeout_seconds=30)
    assert (await states(settings))[ONE].by == "operator:asha"


@pytest.mark.req("FHL-2")
async def test_a_refused_token_and_the_dispatchers_words_are_obeyed(settings: Settings) -> None:
    meta = Meta()
    meta.tokens[ONE] = "EAATEST-revoked"
    async with monitored(settings, meta):
        await eventually(verdicts_are(settings, n1="halted", n2="open", n3="open"), timeout_seconds=60)
        reason = (await states(settings))[ONE].reason
        assert reason is not None
        assert (reason.code, reason.details) == ("token_refused", {"code": "190"})
        hold = datetime.now(UTC).timestamp() + 5
        limited = NumberEvent(
            phone_number_id=TWO,
            home="advisors",
            kind="rate_limited",
            source="dispatcher",
            at=datetime.now(UTC),
            hold_until=datetime.fromtimestamp(hold, UTC),
        )
        await say(settings, NUMBER_EVENTS, "advisors", limited)
        await eventually(verdicts_are(settings, n1="halted", n2="paused", n3="open"), timeout_seconds=4)
        await eventually(verdicts_are(settings, n1="halted", n2="open", n3="open"), timeout_seconds=15)
        await operator(settings, "halt", THREE, "advisors")
        await eventually(verdicts_are(settings, n1="halted", n2="open", n3="halted"), timeout_seconds=15)


async def test_each_number_is_asked_about_by_one_instance(settings: Settings) -> None:
    metas = [Meta(), Meta()]
    second = settings.model_copy(update={"instance": "second"})
    async with monitored(settings, metas[0]):
        await eventually(lambda: len(set(metas[0].asked)) == 3, timeout_seconds=60)
        async with monitored(second, metas[1]):
            await eventually(lambda: len(metas[1].asked) > 0, timeout_seconds=60)
            metas[0].asked.clear()
            metas[1].asked.clear()
            await eventually(lambda: set(metas[0].asked + metas[1].asked) == {ONE, TWO, THREE}, timeout_seconds=30)
            assert not set(metas[0].asked) & set(metas[1].asked)
