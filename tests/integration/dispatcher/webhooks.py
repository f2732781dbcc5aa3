"""Real webhooks in the dispatcher's tests: sent by the simulator, taken in by the webhook edge and the normaliser."""

from __future__ import annotations

import httpx

from tests.integration.dispatcher.stack import Stack
from tests.support.wait import eventually

SECRET = "the app secret of this test"


def webhooks_to(port: int) -> dict[str, str]:
    """The simulator's settings: statuses go to the edge at that port, and free text needs no window."""
    return {
        "HARKARA_SIM_WEBHOOK_URL": f"http://127.0.0.1:{port}/webhooks/meta",
        "HARKARA_SIM_APP_SECRET": SECRET,
        "HARKARA_SIM_WINDOW": "off",
    }


async def ingestion(made: Stack, port: int) -> None:
    """The webhook edge and the normaliser, at this port."""
    secrets = {"HARKARA_APP_SECRETS": SECRET, "HARKARA_VERIFY_TOKEN": "verify"}
    folder = {
        "HARKARA_DATA_DIR": str(made.folder / "ingestion"),
        "HARKARA_API_KEYS_FILE": str(made.folder / "keys.yaml"),
    }
    (made.folder / "keys.yaml").write_text("keys: []\n", "utf-8")
    started = await made.start("ingestion", "ingestion-0", HARKARA_HTTP_PORT=str(port), **secrets, **folder)
    started.port = port
    await eventually(started.ready, timeout_seconds=60)


async def fate(made: Stack, number: str, name: str) -> None:
    """What becomes of every message of that number from now on."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        (await http.post(f"/_simulator/numbers/{number}", json={"fate": name})).raise_for_status()
