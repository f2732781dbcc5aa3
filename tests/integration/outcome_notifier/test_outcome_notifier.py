"""outcome-notifier on a real broker: every producer told, whatever another's endpoint does, and over a SIGKILL."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from harkara.contracts.envelope import decode, header
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, State, advance
from harkara.contracts.outcomes import MessageOutcome
from harkara.contracts.topics import MESSAGE_OUTCOMES, MESSAGE_STATE
from harkara.outcome_notifier.settings import Settings
from harkara.runtime.kafka import Output
from tests.support.kafka import read_all
from tests.support.services import isolated, service_process, write
from tests.support.wait import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGES = 40
KINDS = ["MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_READ"]


@dataclass
class Receiver:
    """Producers' endpoints: `/good` takes everything, `/dead` nothing, `/gone` wants no more."""

    taken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert verified(request.headers["webhook-signature"], request, body)
        if request.path == "/dead":
            self.refused += 1
            return web.Response(status=500)
        if request.path == "/gone":
            return web.Response(status=410)
        said = json.loads(body)
        self.taken[said["data"]["messageId"]].append(said["type"])
        self.ids[request.headers["webhook-id"]].append(body.decode())
        return web.Response()


def verified(signatures: str, request: web.Request, body: bytes) -> bool:
    """As a receiver does it, with nothing of ours (Standard Webhooks)."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() in signatures.split()


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/{name}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


def life(number: int, producer: str) -> list[Output]:
    """The message's states, one after another, as message-state writes them."""
    message_id, now = f"{producer}-{number:06d}", datetime.now(UTC)
    state: State | None = None
    outputs = []
    for step, status in enumerate(("received", "submitted", "sent", "delivered", "read")):
        fields = {"message_id": message_id, "home": f"10000000000000{number % 3}", "status": status, "at": now}
        more = {"producer": producer} if status == "received" else {"attempt": 1, "wamid": f"wamid.{message_id}"}
        event = MessageLifecycle.model_validate(fields | more | {"at": now + timedelta(milliseconds=step)})
        state = advance(state, event)
        made = MessageState.model_validate(state)
        outputs.append(Output(MESSAGE_STATE, made.home, message_id, made, f"{message_id}-{step}", now))
    return outputs


async def outcomes(settings: Settings) -> dict[str, MessageOutcome]:
    """By event id: those that were written again count once."""
    found = {}
    for record in await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_OUTCOMES)):
        envelope = decode(MESSAGE_OUTCOMES.events, record.value, record.headers, fallback_id="none")
        assert isinstance(envelope.event, MessageOutcome)
        found[envelope.id] = envelope.event
    return found


@pytest.mark.req("WHK-12", "WHK-14")
async def test_each_producer_is_told_whatever_another_endpoint_does_and_over_a_kill(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = await isolated(Settings, kafka_bootstrap, topic_prefix, tmp_path)
    receiver, log_file = Receiver(), tmp_path / "notifier.log"
    async with receiving(receiver) as port:
        file = tmp_path / "callbacks.yaml"
        rows = [
            f"  - {{producer: {name}, url: 'http://127.0.0.1:{port}/{name}', secrets: [{SECRET}]}}"
            for name in ("good", "dead", "gone")
        ]
        file.write_text("\n".join(["private_hosts: ['127.0.0.1']", "endpoints:", *rows]))
        environment = {"HARKARA_CALLBACKS_FILE": str(file)}
        lives = [life(number, name) for number in range(MESSAGES) for name in ("good", "dead", "gone")]
        steps = [step for each in zip(*lives, strict=True) for step in each]
        await write(settings, steps[: len(steps) // 2])
        async with service_process("outcome-notifier", settings, environment, log_file) as first:
            await eventually(lambda: len(receiver.taken) > MESSAGES // 4 and receiver.refused > 3, 60)
            first.kill()
            assert await first.wait() == -9
        await write(settings, steps[len(steps) // 2 :])
        async with service_process("outcome-notifier", settings, environment, log_file):
            wanted = {f"good-{number:06d}" for number in range(MESSAGES)}
            await eventually(lambda: all(KINDS[-1] in receiver.taken[each] for each in wanted), 60)

            async def all_gone() -> bool:
                letters = await read_all(settings.kafka.bootstrap, settings.kafka.topic(MESSAGE_OUTCOMES.dlq))
                return {header(each.headers, "ce_id") for each in letters} >= {
                    identity for identity, each in (await outcomes(settings)).items() if each.producer == "gone"
                } and len(letters) > 0

            await eventually(all_gone, 60, every=0.5)
            mended = {f"dead-{number:06d}" for number in range(MESSAGES)}
            assert not mended & set(receiver.taken)
            file.write_text(file.read_text().replace(f"{port}/dead", f"{port}/mended"))  # taken up while it runs
            await eventually(lambda: all(KINDS[-1] in receiver.taken[each] for each in mended), 60)
            wanted |= mended
    assert set(receiver.taken) == wanted
    for message_id in wanted:
        first_times = list(dict.fromkeys(receiver.taken[message_id]))
        assert first_times == KINDS, "each message's outcomes come in order"
    assert len(receiver.ids) == 2 * MESSAGES * len(KINDS), "what came twice came under the same webhook-id"
    assert all(len(set(bodies)) == 1 for bodies in receiver.ids.values())
    told = await outcomes(settings)
    assert len(told) == 3 * MESSAGES * len(KINDS)
    assert {(each.message_id, each.kind) for each in told.values()} >= {
        (each, kind) for each in wanted for kind in KINDS
    }
    assert await asyncio.to_thread(log_file.read_text) and SECRET not in log_file.read_text()
