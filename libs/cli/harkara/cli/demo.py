"""`harkara demo`: the whole system, one run, judged by the simulator's own ledger."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
from rich.console import Console
from rich.live import Live

from harkara.cli.audience import audience_csv
from harkara.cli.evidence import Verdict, judge
from harkara.cli.screen import Screen, summary
from harkara.cli.witness import Watch, read_ledger
from harkara.contracts.identity import derived_message_id
from harkara.contracts.lifecycle import ENDS
from harkara.devstack.dev_environment import SERVICES
from harkara.devstack.stack import Stack
from harkara.runtime.clock import SystemClock

SENDERS = ("100000000000001", "advisors")  # one number of its own and a pool of two: three numbers
QUIET_SECONDS = 6.0  # a `sent` that nothing followed for this long will stay: the scenario's phones that are off
DEADLINE_MINUTES = 10
KILL_FROM, KILL_TO = 0.2, 0.8  # of the run accepted: in its middle, with calls under way
LIVE_MESSAGES = re.compile(r"^harkara_dispatcher_messages\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `kill` names services to be killed with SIGKILL, one after another."""

    recipients: int
    audience: Path
    kill: tuple[str, ...] = ()
    give_up_seconds: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """The verdict and what was measured beside it. `left_open`: messages whose call was under way when a dispatcher
    was killed: no other message may be unknown for that reason."""

    verdict: Verdict
    webhook_to_state_ms: list[float]
    wall_seconds: float
    finished: bool
    left_open: frozenset[str]

    @property
    def holds(self) -> bool:
        """Every message exactly once or ended for a reason, and the run came to its end."""
        return self.verdict.holds and self.finished


async def run_demo(stack: Stack, options: Options, console: Console) -> Outcome:
    """Send the run through a stack that is up, follow it to its end, and judge it."""
    watch = Watch(stack.settings("demo"))
    watching = asyncio.create_task(watch.run())
    started = time.monotonic()
    try:
        async with httpx.AsyncClient(timeout=60) as client:
            ids = await _start_run(client, stack, options)
            console.print(f"run accepted: {len(ids)} recipients over {', '.join(SENDERS)}")
            finished = await _follow(client, stack, options, watch, ids, console)
            wall = time.monotonic() - started
            ledger = await read_ledger(client, stack.endpoints.url("graph-simulator"))
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    verdict = judge(ids, ledger, watch.states)
    outcome = Outcome(verdict, watch.webhook_to_state_ms(), wall, finished, frozenset(watch.left_open))
    console.print(summary(verdict, outcome.webhook_to_state_ms, wall))
    if "dispatcher" in options.kill:
        unknown = sum(1 for message_id in verdict.unknown if message_id in outcome.left_open)
        console.print(f"calls under way at the kill: {len(outcome.left_open)}, of them unknown at the end: {unknown}")
    return outcome


async def _start_run(client: httpx.AsyncClient, stack: Stack, options: Options) -> list[str]:
    """Post the run. Its message ids are a function of the API key, the Idempotency-Key and the row, from 1."""
    body = audience_csv(options.audience, options.recipients)
    idempotency_key = f"demo-{time.time_ns()}"
    run = {
        "name": "morning update",
        "senders": list(SENDERS),
        "category": "utility",
        "template": {"name": "daily_update", "language": "en"},
        "deadline": (SystemClock().now() + timedelta(minutes=DEADLINE_MINUTES)).isoformat(),
    }
    answer = await client.post(
        f"{stack.endpoints.url('ingestion')}/api/v1/runs",
        headers={"Authorization": f"Bearer {stack.api_key}", "Idempotency-Key": idempotency_key},
        files={
            "run": (None, orjson.dumps(run), "application/json"),
            "audience": ("audience.csv", io.BytesIO(body.encode()), "text/csv"),
        },
    )
    if answer.status_code != 202:
        raise RuntimeError(f"the run was not accepted: {answer.status_code} {answer.text[:500]}")
    key_id = stack.api_key.partition(".")[0]
    return [derived_message_id(key_id, idempotency_key, row) for row in range(1, options.recipients + 1)]


async def _follow(
    client: httpx.AsyncClient, stack: Stack, options: Options, watch: Watch, ids: list[str], console: Console
) -> bool:
    """Draw until every message has ended (or stays sent); kill what was asked for on the way."""
    screen, give_up = Screen(len(ids)), time.monotonic() + options.give_up_seconds
    kills = deque(zip(options.kill, kill_points(len(options.kill), len(ids)), strict=True))
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while time.monotonic() < give_up:
            with contextlib.suppress(httpx.HTTPError):  # the simulator itself may be the one that was killed
                stats = (
                    await client.get(f"{stack.endpoints.url('graph-simulator')}/_simulator/stats", timeout=2)
                ).json()
                statuses = [watch.states[m]["status"] if m in watch.states else "accepted" for m in ids]
                live.update(screen.draw(time.monotonic(), stats["accepted_by_number"], watch.queues, statuses))
                while kills and stats["accepted"] >= kills[0][1]:
                    await _kill(client, stack, kills.popleft()[0], console)
                if not kills and _is_over(statuses, watch):
                    return True
            await asyncio.sleep(0.2)
    console.print("[red]gave up waiting: some messages have not ended")
    return False


def kill_points(kills: int, recipients: int) -> list[int]:
    """After how many accepted messages each kill comes: one in the middle, several spread over the middle part."""
    if kills == 1:
        return [int((KILL_FROM + KILL_TO) / 2 * recipients)]
    step = (KILL_TO - KILL_FROM) / max(1, kills - 1)
    return [int((KILL_FROM + step * index) * recipients) for index in range(kills)]


async def _kill(client: httpx.AsyncClient, stack: Stack, service: str, console: Console) -> None:
    """Kill the service's process; of the two dispatchers the one that has messages."""
    instance = service
    if service == "dispatcher":
        busy = {each.name: await _messages_in(client, stack, each.port) for each in SERVICES if each.service == service}
        instance = max(busy, key=lambda name: busy[name])
    console.print(f"[magenta]killed {stack.kill(instance)} with SIGKILL; the supervisor starts it again")


async def _messages_in(client: httpx.AsyncClient, stack: Stack, port_name: str) -> float:
    text = (await client.get(f"{stack.endpoints.url(port_name)}/metrics", timeout=2)).text
    return sum(float(value) for value in LIVE_MESSAGES.findall(text))


def _is_over(statuses: list[str], watch: Watch) -> bool:
    if any(status not in ENDS and status != "sent" for status in statuses):
        return False
    quiet = asyncio.get_running_loop().time() - watch.changed_at
    return "sent" not in statuses or quiet > QUIET_SECONDS
