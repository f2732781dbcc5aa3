"""GraphClient to the simulator and back: real sockets, real process, signed webhooks at a tiny receiver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from harkara.contracts.intents import Button, Media, Template, Text
from harkara.graph_api.client import GraphClient, GraphReadFailed
from harkara.graph_api.opaque import callback_data, parse_callback_data
from harkara.graph_api.outcome import Accepted, InDoubt, Outcome, Refused
from harkara.graph_api.signature import verify
from harkara.graph_api.wire import build_message
from harkara.graph_simulator.app import WebhookSender, build_app, build_simulator
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.settings import Settings

SECRET = "webhook-secret"
NUMBER, OTHER = "100000000000001", "100000000000002"
WABA = "112233445566778"
TEMPLATE = Template(name="order_update", language="hi", body=("सुनीता", "ORD/221"))
QUICK = Scenario(sent_ms=5, delivered_ms=15, read_ms=10, hold_ms=20, late_ms=60, hang_ms=200, read_probability=1)


@dataclass
class Receiver:
    """A webhook endpoint on a bare socket: verifies each signature and keeps what came; `refuse` answers 500 first."""

    port: int = 0
    refuse: int = 0
    raws: list[bytes] = field(default_factory=list)
    unsigned: int = 0
    statuses: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    others: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                raw = await reader.readexactly(int(headers["content-length"]))
                accepted = self.take(raw, headers.get("x-hub-signature-256"))
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if accepted else b"500 No"))
                await writer.drain()
        writer.close()

    def take(self, raw: bytes, header: str | None) -> bool:
        self.raws.append(raw)
        if not verify([SECRET], raw, header):
            self.unsigned += 1
        if self.refuse:
            self.refuse -= 1
            return False
        for entry in json.loads(raw)["entry"]:
            for change in entry["changes"]:
                for status in change["value"].get("statuses", []):
                    self.statuses.put_nowait(status)
                if "statuses" not in change["value"]:
                    self.others.put_nowait(change)
        return True

    async def next_statuses(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            return [await self.statuses.get() for _ in range(count)]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Rig:
    """A simulator under uvicorn, a client of it, and the receiver of its webhooks."""

    base: str
    receiver: Receiver
    http: httpx.AsyncClient
    client: GraphClient

    async def send(
        self, to: str, content: Template | Text | Media = TEMPLATE, opaque: str = "msg-00000001.1"
    ) -> Outcome:
        return await self.client.send(NUMBER, build_message(to, content, opaque))

    async def control(self, path: str, body: object = None) -> Any:
        response = await (self.http.get(path) if body is None else self.http.post(path, json=body))
        response.raise_for_status()
        return response.json()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with receiving() as receiver:
        settings = Settings(
            sim_webhook_url=f"http://127.0.0.1:{receiver.port}/webhooks/meta",
            sim_app_secret=SecretStr(SECRET),
            sim_scenario=QUICK,
        )
        simulator = build_simulator(settings)
        listener = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(build_app(simulator), lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.config.load()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        sender = asyncio.create_task(WebhookSender(simulator).run())
        client = GraphClient(base, "v26.0", lambda: "EAATEST-one", timeout_seconds=10.0)
        async with httpx.AsyncClient(base_url=base, timeout=5) as http:
            yield Rig(base, receiver, http, client)
        await client.aclose()
        sender.cancel()
        await asyncio.wait({sender})
        server.should_exit = True
        await serving


async def test_a_message_from_the_call_to_read(rig: Rig) -> None:
    opaque = callback_data("msg-00000001", 1)
    outcome = await rig.send("+919999912345", opaque=opaque)
    assert isinstance(outcome, Accepted)
    statuses = await rig.receiver.next_statuses(3)
    assert [status["status"] for status in statuses] == ["sent", "delivered", "read"]
    assert {status["id"] for status in statuses} == {outcome.wamid}
    assert {parse_callback_data(status["biz_opaque_callback_data"]) for status in statuses} == {("msg-00000001", 1)}
    assert rig.receiver.unsigned == 0
    ledger = await rig.control("/_simulator/ledger?after=0&limit=10")
    (entry,) = ledger["entries"]
    assert (entry["seq"], entry["wamid"], entry["opaque"]) == (1, outcome.wamid, opaque)
    assert (entry["template"], entry["to"], entry["phone_number_id"]) == ("order_update", "919999912345", NUMBER)
    assert (ledger["next_after"], ledger["last_seq"]) == (1, 1)


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [("0004", "connection"), ("0005", "http_5xx"), ("0019", "connection"), ("0020", "answer"), ("0021", "connection"),
     ("0025", "code")],
)  # fmt: skip
async def test_a_lost_answer_is_in_doubt_and_its_echo_settles_it(rig: Rig, suffix: str, reason: str) -> None:
    outcome = await rig.send(f"+91999990{suffix}")
    assert isinstance(outcome, InDoubt)
    assert outcome.reason == reason
    (first, *_) = await rig.receiver.next_statuses(3)
    assert parse_callback_data(first["biz_opaque_callback_data"]) == ("msg-00000001", 1)
    assert (await rig.control("/_simulator/stats"))["accepted"] == 1


@pytest.mark.parametrize("suffix", ["0011", "0024", "0026", "0027"])
async def test_some_doubts_were_never_accepted(rig: Rig, suffix: str) -> None:
    assert isinstance(await rig.send(f"+91999990{suffix}"), InDoubt)
    assert (await rig.control("/_simulator/stats"))["accepted"] == 0


async def test_statuses_may_come_before_the_answer(rig: Rig) -> None:
    await rig.control("/_simulator/config", {"status_lead_ms": 1500})
    sending = asyncio.create_task(rig.send("+919999900006"))
    await rig.receiver.next_statuses(3)
    assert not sending.done()
    assert isinstance(await sending, Accepted)


async def test_a_receiver_that_fails_is_tried_again_with_the_same_bytes(rig: Rig) -> None:
    rig.receiver.refuse = 1
    assert isinstance(await rig.send("+919999900009"), Accepted)
    await rig.receiver.next_statuses(1)
    assert len(rig.receiver.raws) == 2
    assert rig.receiver.raws[0] == rig.receiver.raws[1]
    assert rig.receiver.unsigned == 0


async def test_refusals_reach_the_client_with_their_policy(rig: Rig) -> None:
    outcome = await rig.send("+919999900023")
    assert isinstance(outcome, Refused)
    assert (outcome.error.http_status, outcome.error.code, outcome.retry_after_seconds) == (429, 130429, 1.0)
    assert isinstance(await rig.send("+919999900023"), Accepted)
    stats = await rig.control("/_simulator/stats")
    assert (stats["accepted"], stats["refused"]) == (1, {"130429": 1})


async def test_a_user_writes_and_free_form_text_may_go_for_24_hours(rig: Rig) -> None:
    await rig.send("+919999912345", Text(body="early"))
    (failed,) = await rig.receiver.next_statuses(1)
    assert failed["errors"][0]["code"] == 131047
    written = {"phone_number_id": NUMBER, "sender": "+919999912345", "text": "बंद करो 🙏 https://a.example.test/x"}
    wamid = (await rig.control("/_simulator/inbound", written))["wamid"]
    async with asyncio.timeout(5):
        change = await rig.receiver.others.get()
    (message,) = change["value"]["messages"]
    assert (message["id"], message["from"], message["text"]["body"]) == (wamid, "919999912345", written["text"])
    assert rig.receiver.raws[-1].isascii()
    assert b"\\/" in rig.receiver.raws[-1]
    assert rig.receiver.unsigned == 0
    await rig.send("+919999912345", Text(body="within the window"))
    assert [status["status"] for status in await rig.receiver.next_statuses(3)] == ["sent", "delivered", "read"]


async def test_a_tap_on_a_quick_reply(rig: Rig) -> None:
    tap = {"phone_number_id": NUMBER, "sender": "919999912345", "button_payload": "STOP", "context_wamid": "wamid.x"}
    await rig.control("/_simulator/inbound", tap)
    async with asyncio.timeout(5):
        (message,) = (await rig.receiver.others.get())["value"]["messages"]
    assert message["button"] == {"payload": "STOP", "text": "OK"}
    assert message["context"] == {"from": "919999990001", "id": "wamid.x"}


async def test_media_is_uploaded_checked_sent_and_deleted(rig: Rig) -> None:
    bearer = {"Authorization": "Bearer EAATEST-one"}
    files = {"file": ("invoice.pdf", b"%PDF-1.7 x", "application/pdf")}
    fields = {"messaging_product": "whatsapp", "type": "application/pdf"}
    url = f"/v26.0/{NUMBER}/media"
    media_id = (await rig.http.post(url, data=fields, files=files, headers=bearer)).json()["id"]
    node = (await rig.http.get(f"/v26.0/{media_id}", headers=bearer)).json()
    assert (node["mime_type"], node["file_size"], node["messaging_product"]) == ("application/pdf", "10", "whatsapp")
    content = Template(
        name="invoice_ready",
        language="en",
        header=Media(type="document", id=media_id, filename="invoice.pdf"),
        body=("221",),
        buttons=(Button(sub_type="url", index=0, value="221"),),
    )
    assert isinstance(await rig.send("+919999912345", content), Accepted)
    bad = await rig.http.post(
        url, data=fields | {"type": "image/bmp"}, files={"file": ("x.bmp", b"BM", "image/bmp")}, headers=bearer
    )
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, 100)
    assert (await rig.http.post(url, data=fields, files=files)).status_code == 401
    assert (await rig.http.delete(f"/v26.0/{media_id}", headers=bearer)).json() == {"success": True}
    gone = await rig.http.get(f"/v26.0/{media_id}", headers=bearer)
    assert (gone.status_code, gone.json()["error"]["error_subcode"]) == (400, 33)


async def test_health_and_fields_follow_the_number(rig: Rig) -> None:
    assert (await rig.client.health_status(NUMBER)).worst_for_messages() == "AVAILABLE"
    await rig.control(f"/_simulator/numbers/{NUMBER}", {"health": "LIMITED", "quality": "RED"})
    health = await rig.client.health_status(NUMBER)
    assert [entity.entity_type for entity in health.entities] == ["PHONE_NUMBER", "WABA", "BUSINESS", "APP"]
    assert health.worst_for_messages() == "LIMITED"
    fields = ("quality_rating", "status", "throughput", "whatsapp_business_manager_messaging_limit")
    number = await rig.client.phone_number(NUMBER, fields)
    assert (number.quality_rating, number.status, number.verified_name) == ("RED", "CONNECTED", None)
    async with asyncio.timeout(5):
        change = await rig.receiver.others.get()
    assert (change["field"], change["value"]["event"]) == ("phone_number_quality_update", "FLAGGED")
    with pytest.raises(GraphReadFailed) as unknown:
        await rig.client.phone_number(NUMBER, ["colour"])
    assert isinstance(unknown.value.outcome, Refused)


async def test_a_token_that_ended_halts_its_number_alone(rig: Rig) -> None:
    await rig.control(f"/_simulator/numbers/{NUMBER}", {"token_valid": False})
    outcome = await rig.send("+919999912345")
    assert isinstance(outcome, Refused)
    assert (outcome.error.http_status, outcome.error.code, outcome.error.subcode) == (401, 190, 463)
    other = GraphClient(rig.base, "v26.0", lambda: "EAATEST-two")
    body = build_message("+919999912345", TEMPLATE, "msg-00000002.1")
    assert isinstance(await other.send(OTHER, body), Accepted)
    await other.aclose()


async def test_lists_are_paged_and_template_changes_are_told(rig: Rig) -> None:
    bearer = {"Authorization": "Bearer EAATEST-system-user"}
    url: str | None = f"{rig.base}/v26.0/{WABA}/message_templates?limit=4"
    names: list[str] = []
    while url is not None:
        page = (await rig.http.get(url, headers=bearer)).json()
        names += [f"{row['name']}/{row['language']}" for row in page["data"]]
        url = page["paging"].get("next")
    assert len(names) == len(set(names)) == 9
    numbers = (await rig.http.get(f"/v26.0/{WABA}/phone_numbers", headers=bearer)).json()["data"]
    assert [row["id"] for row in numbers] == ["100000000000001", "100000000000002", "100000000000003"]
    change = {"name": "order_update", "language": "hi", "status": "PAUSED"}
    await rig.control(f"/_simulator/wabas/{WABA}/templates", change)
    outcome = await rig.send("+919999912345")
    assert isinstance(outcome, Refused)
    assert outcome.error.code == 132015
    async with asyncio.timeout(5):
        told = await rig.receiver.others.get()
    assert (told["field"], told["value"]["event"]) == ("message_template_status_update", "PAUSED")
    none = await rig.http.get(f"/v26.0/{WABA}/message_templates?name=no_such", headers=bearer)
    assert none.json() == {"data": []}


async def test_management_calls_are_limited_and_unknown_paths_refused(rig: Rig) -> None:
    await rig.control("/_simulator/config", {"management_calls_per_hour": 1})
    await rig.client.health_status(NUMBER)
    with pytest.raises(GraphReadFailed) as limited:
        await rig.client.health_status(NUMBER)
    assert isinstance(limited.value.outcome, Refused)
    assert limited.value.outcome.error.code == 80007
    assert (await rig.http.get("/v1/7")).json()["error"]["code"] == 2500
    assert (await rig.http.post("/_simulator/config", json={"latncy_ms": 1})).status_code == 422
    assert (await rig.http.post("/_simulator/numbers/7", json={})).status_code == 404


async def test_the_service_keeps_its_ledger_over_a_kill(tmp_path: Path) -> None:
    async with receiving() as receiver:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "HARKARA_HTTP_HOST": "127.0.0.1",
            "HARKARA_HTTP_PORT": str(port),
            "HARKARA_SIM_WEBHOOK_URL": f"http://127.0.0.1:{receiver.port}/webhooks/meta",
            "HARKARA_SIM_APP_SECRET": SECRET,
            "HARKARA_SIM_LEDGER_FILE": str(tmp_path / "ledger.jsonl"),
            "HARKARA_SIM_SENT_MS": "3000",
            "HARKARA_SIM_FATES": '{"stays_sent": 1}',
        }
        client = GraphClient(f"http://127.0.0.1:{port}", "v26.0", lambda: "EAATEST-one")
        body = build_message("+919999912345", TEMPLATE, "msg-00000001.1")
        async with process(environment, port) as first:
            outcome = await client.send(NUMBER, body)
            assert isinstance(outcome, Accepted)
            first.send_signal(signal.SIGKILL)
        async with process(environment, port) as second:
            (status,) = await receiver.next_statuses(1)
            assert status["id"] == outcome.wamid
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                ledger = (await http.get("/_simulator/ledger")).json()
                assert [entry["wamid"] for entry in ledger["entries"]] == [outcome.wamid]
                assert "harkara_simulator_webhook_pending" in (await http.get("/metrics")).text
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 20) == 0
        await client.aclose()


@contextlib.asynccontextmanager
async def process(environment: dict[str, str], port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as it runs in production, once it answers; ended with the block whatever happens."""
    module = ("-m", "harkara.runtime.serve", "graph-simulator")
    started = await asyncio.create_subprocess_exec(
        sys.executable, *module, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while not await answers(http, f"http://127.0.0.1:{port}/readyz"):
                assert started.returncode is None, "the service ended"
        yield started
    finally:
        if started.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                started.kill()
        await started.wait()


async def answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        with contextlib.suppress(TimeoutError):  # the wait between two tries, bounded by the caller
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        return False
