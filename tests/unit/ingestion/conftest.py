"""A governance file over the numbers of Meta's sample payloads, and an API in memory around a fake log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from harkara.graph_api.signature import HEADER, sign
from harkara.ingestion.acceptance import RunAcceptance
from harkara.ingestion.addressing import Addresses
from harkara.ingestion.known import Known
from harkara.ingestion.portfolios import Ledgers
from harkara.ingestion.records import RecordMaker
from harkara.ingestion.resolution import Resolver
from harkara.ingestion.routes import Api, build_app
from harkara.ingestion.standing import Standings
from harkara.ingestion.webhooks import Webhooks
from harkara.policy.governance import Governance, load
from harkara.policy.known import Known as Around
from harkara.policy.standings import Standings as Consents
from harkara.runtime.api_keys import ApiKey, ApiKeys
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output, RawOutput

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
PEPPER = b"a pepper of the tests"
SECRET = "app-secret-of-the-tests"
VERIFY_TOKEN = "verify-token-of-the-tests"
NOW = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
LONE, FIRST, SECOND = "445566778899001", "445566778899002", "445566778899099"
GOVERNANCE = f"""
numbers:
  - {{phone_number_id: "{LONE}", display_phone_number: "+12025550143", waba_id: "112233445566778",
      portfolio_id: "998877665544332", token_env: TOKEN_A}}
  - {{phone_number_id: "{FIRST}", display_phone_number: "+919999900002", waba_id: "112233445566778",
      portfolio_id: "998877665544332", token_env: TOKEN_B, profile: governance}}
  - {{phone_number_id: "{SECOND}", display_phone_number: "+919999900003", waba_id: "112233445566779",
      portfolio_id: "998877665544332", token_env: TOKEN_C, profile: governance}}
pools:
  - {{name: advisors, numbers: ["{FIRST}", "{SECOND}"]}}
compliance: {{consent_mode: opt_out}}
"""
FREE_KEY, FIXED_KEY, POOL_KEY = "shop.free-secret", "desk.fixed-secret", "pool.pool-secret"


@pytest.fixture(scope="session")
def governance(tmp_path_factory: pytest.TempPathFactory) -> Governance:
    path = tmp_path_factory.mktemp("governance") / "governance.yaml"
    path.write_text(GOVERNANCE, "utf-8")
    return load(path)


def payload(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / name).read_text("utf-8"))
    return found


def bodies(name: str) -> list[dict[str, Any]]:
    """The POST bodies of a sample, be it one webhook or a sequence of them."""
    content = payload(name)
    return [each["body"] for each in content["deliveries"]] if "deliveries" in content else [content]


WEBHOOK_FILES = sorted(
    each["file"] for each in payload("_index.json")["files"] if each["kind"] in ("webhook_post", "webhook_sequence")
)


@dataclass
class Log:
    """A log in memory. `refuse` is raised instead of writing."""

    written: list[Output | RawOutput] = field(default_factory=list)
    refuse: Exception | None = None

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.written += outputs

    async def append(self, raw: bytes, received_at: datetime, outputs: Sequence[Output | RawOutput]) -> None:
        """A webhook's safe place is the log itself here."""
        await self.write(outputs)

    def on(self, topic: str) -> list[Any]:
        return [each.event for each in self.written if isinstance(each, Output) and each.topic.name == topic]

    def raw(self) -> list[RawOutput]:
        return [each for each in self.written if isinstance(each, RawOutput)]


@dataclass
class Facts:
    """What a preview is made of, to be changed by the test."""

    consents: Consents
    around: Around
    governance: Governance
    fresh: bool = True
    ledgers: Ledgers = field(default_factory=Ledgers)

    def __post_init__(self) -> None:
        facts = (self.consents, self.around, lambda: self.fresh, self.ledgers)
        self.resolver = Resolver(self.governance, PEPPER, *facts)


@dataclass
class Running:
    """The application with what it stands on."""

    app: FastAPI
    http: httpx.AsyncClient
    log: Log
    known: Known
    clock: ManualClock
    facts: Facts
    api: Api

    async def post(self, path: str, body: Any = None, key: str = FREE_KEY, idem: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"} | ({"Idempotency-Key": idem} if idem else {})
        return await self.http.post(path, json=body, headers=headers, **more)

    async def webhook(self, raw: bytes, signed_by: str = SECRET) -> httpx.Response:
        return await self.http.post("/webhooks/meta", content=raw, headers={HEADER: sign(signed_by, raw)})


def api_keys() -> ApiKeys:
    texts = {FREE_KEY: None, FIXED_KEY: LONE, POOL_KEY: "advisors"}
    named = ((ApiKey(text.partition(".")[0], "a test", sender), text) for text, sender in texts.items())
    return ApiKeys((key, hashlib.sha256(text.encode()).hexdigest()) for key, text in named)


@pytest.fixture
async def running(governance: Governance) -> AsyncIterator[Running]:
    log, known, clock = Log(), Known(), ManualClock(NOW)
    consents, around = Consents(), Around(clock.now)
    facts = Facts(consents, around, governance)
    acceptance = RunAcceptance(log, known, clock, facts.resolver)
    api = Api(governance, PEPPER, log, known, clock, acceptance, Standings(governance, known))
    webhooks = Webhooks((SECRET, "another"), VERIFY_TOKEN, log, RecordMaker(Addresses(governance), 6), clock)
    app = build_app(api, webhooks, api_keys())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingestion") as http:
        yield Running(app, http, log, known, clock, facts, api)
