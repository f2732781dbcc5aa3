"""Ingestion as a process of its own, on the tests' broker."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from harkara.devstack.ports import free_ports
from harkara.graph_api.signature import HEADER, sign
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.support.services import service_process
from tests.support.wait import eventually

PARTITIONS = 2
SECRET, VERIFY_TOKEN, PEPPER = "app-secret-of-the-tests", "verify-token", "a pepper of the integration tests"
NOTHING = b'{"object": "whatsapp_business_account", "entry": [{"id": "0", "changes": [{}]}]}'
API_KEY = "shop.integration-secret"
LONE, POOLED = "445566778899001", "445566778899002"
GOVERNANCE = f"""
numbers:
  - {{phone_number_id: "{LONE}", display_phone_number: "+12025550143", waba_id: "112233445566778",
      portfolio_id: "998877665544332", token_env: TOKEN_A}}
  - {{phone_number_id: "{POOLED}", display_phone_number: "+919999900002", waba_id: "112233445566778",
      portfolio_id: "998877665544332", token_env: TOKEN_B}}
pools:
  - {{name: advisors, numbers: ["{POOLED}"]}}
compliance: {{consent_mode: opt_out}}
"""


def settings_for(bootstrap: str, prefix: str) -> ServiceSettings:
    """For creating the topics."""
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix)
    return ServiceSettings(service="test", kafka=kafka, partitions=PARTITIONS, replication_factor=1)


@dataclass
class Ingestion:
    """The running process and a client of its port."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient
    log: Path

    async def webhook(self, raw: bytes, secret: str = SECRET) -> httpx.Response:
        """A webhook signed with `secret`."""
        return await self.http.post("/webhooks/meta", content=raw, headers={HEADER: sign(secret, raw)})

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        assert self.process.returncode is None, self.log.read_text()
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def takes_webhooks(self) -> bool:
        """Whether a webhook that says nothing is answered 200: the spool is open."""
        assert self.process.returncode is None, self.log.read_text()
        try:
            return (await self.webhook(NOTHING)).status_code == 200
        except httpx.TransportError:
            return False

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def ingestion(
    bootstrap: str,
    prefix: str,
    folder: Path,
    *,
    port: int | None = None,
    needs_kafka: bool = True,
    policy: str = GOVERNANCE,
) -> AsyncIterator[Ingestion]:
    """The process until the end of the context; it is stopped by SIGTERM unless it was killed. `needs_kafka` False:
    it need not be ready, only take webhooks."""
    governance, keys, log = folder / "governance.yaml", folder / "keys.yaml", folder / "ingestion.log"
    governance.write_text(policy, "utf-8")
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    keys.write_text(f"keys:\n  - {{id: shop, name: a shop, sha256: {digest}}}\n", "utf-8")
    port = port or free_ports(1)[0]
    environment = {
        "HARKARA_GOVERNANCE_FILE": str(governance),
        "HARKARA_API_KEYS_FILE": str(keys),
        "HARKARA_PEPPER": PEPPER,
        "HARKARA_APP_SECRETS": SECRET,
        "HARKARA_VERIFY_TOKEN": VERIFY_TOKEN,
        "HARKARA_HTTP_PORT": str(port),
        "HARKARA_DATA_DIR": str(folder / "data"),
    }
    settings = settings_for(bootstrap, prefix)
    async with (
        service_process("ingestion", settings, environment, log) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
    ):
        running = Ingestion(process, http, log)
        await eventually(running.ready if needs_kafka else running.takes_webhooks, timeout_seconds=60)
        yield running
