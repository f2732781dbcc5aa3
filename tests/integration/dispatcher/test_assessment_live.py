"""Meta tries a template out, or pauses it for three hours, by its real webhooks: what waits, what goes, and when."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest

from harkara.contracts.intents import DispatchOrder, Template, Variant
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import MESSAGE_LIFECYCLE, TEMPLATE_STATE
from tests.integration.dispatcher.stack import ONE, POOLED, WABA, Process, Stack, free_port, order, stack
from tests.integration.dispatcher.webhooks import ingestion, webhooks_to
from tests.support.kafka import read_all
from tests.support.wait import eventually

OFFER = Template(name="festival_offer", language="en", body=("Asha",))
IN_TWO = OFFER.model_copy(update={"variants": (Variant(language="hi", body=("आशा",)),)})
WITH_META = ("submitted", "sent", "delivered", "read")
HELD_SECONDS = 25  # a busy machine: what comes before the release, with a kill and a start, takes up to 20 s there
PAUSE_SCALE = 600
PAUSE_SECONDS = 3 * 3600 / PAUSE_SCALE
SWAPPED_WITHIN_SECONDS = 10.0


def world(port: int, **more: str) -> dict[str, str]:
    """The simulator's webhooks come to that port; `more`: settings of its scenario."""
    return webhooks_to(port) | {f"HARKARA_SIM_{name}": value for name, value in more.items()}


def offers(*names: str, number: str = ONE, template: Template = OFFER) -> list[DispatchOrder]:
    return [
        order(
            each,
            (number,),
            to=f"+91999996{crc32(each.encode()) % 9000 + 1000}",
            category="marketing",
            template=template,
        )
        for each in names
    ]


async def managed(made: Stack) -> Process:
    """template-manager, when it has read the account's list."""
    started = await made.start("template-manager", "template-manager-0", HARKARA_DATA_DIR=str(made.folder / "data"))
    await eventually(started.ready, timeout_seconds=60)
    await eventually(lambda: stands(made, "festival_offer:hi", "APPROVED"), timeout_seconds=40)
    return started


async def stands(made: Stack, name: str, status: str) -> bool:
    """Whether the newest state of that template (name:language) is so."""
    newest: dict[str, TemplateState] = {}
    for record in await read_all(made.settings.kafka.bootstrap, made.settings.kafka.topic(TEMPLATE_STATE)):
        state = TemplateState.model_validate_json(record.value or b"")
        newest[f"{state.name}:{state.language}"] = state
    return name in newest and newest[name].status == status


async def rate(made: Stack, quality: str) -> None:
    """Meta's new score of daily_update."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        body = {"name": "daily_update", "language": "en", "quality": quality}
        (await http.post(f"/_simulator/wabas/{WABA}/templates", json=body)).raise_for_status()


async def accepted_at(made: Stack) -> dict[str, float]:
    """When Meta took each message, in Unix seconds; each once."""
    entries = await made.ledger()
    found = {entry["opaque"].partition(".")[0]: entry["accepted_at_ms"] / 1000 for entry in entries}
    assert len(found) == len(entries), "sent twice"
    return found


async def refused(process: Process) -> float:
    """Calls that Meta refused for the pause."""
    return await process.metric('harkara_dispatcher_attempts_total{code="132015",outcome="refused"}')


def attempts_of(states: dict[str, Any], names: list[str]) -> set[int]:
    return {states[each]["attempt"] for each in names}


@pytest.mark.req("B13")
async def test_while_meta_holds_the_first_the_others_wait_over_a_kill_and_go_when_it_is_released(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    port, waiting = free_port(), [f"message-waits-{n}" for n in range(5)]
    scenario = world(port, PACING="release", PACING_AFTER="0", HOLD_MS=str(HELD_SECONDS * 1000), JITTER="0")
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **scenario) as made:
        await ingestion(made, port)
        dying = await made.dispatcher()
        await made.send(offers("message-first"))
        await eventually(lambda: made.all_are(["message-first"], "submitted"))
        assert (await made.states())["message-first"]["reason"]["code"] == "held_by_meta"
        free = [
            order("message-other", (ONE,), to="+919999966001"),
            order("message-text", (ONE,), to="+919999966002", form="session"),
        ]
        await made.send([*offers(*waiting), *offers("message-elsewhere", number=POOLED), *free])
        await eventually(lambda: made.all_are(["message-other", "message-text", "message-elsewhere"], *WITH_META))
        await eventually(lambda: made.all_are(waiting, "held"))
        dying.signal(signal.SIGKILL)
        await dying.ended()
        await made.dispatcher()
        assert await made.accepted() == dict.fromkeys(
            ["message-first", "message-other", "message-text", "message-elsewhere"], 1
        )
        shown = await made.states()
        assert {shown[each]["reason"]["code"] for each in waiting} == {"template_in_assessment"}
        await eventually(lambda: made.all_are(waiting, *WITH_META), timeout_seconds=40)
        assert attempts_of(await made.states(), waiting) == {1}
        times = await accepted_at(made)
        resumed = min(times[each] for each in waiting) - times["message-first"]
        assert resumed >= HELD_SECONDS, "before Meta sent the first one on"
        print(f"Meta held the first for {HELD_SECONDS} s; the others went after {resumed:.1f} s, by its status")


@pytest.mark.req("B13", "TPL-7")
async def test_what_has_an_approved_backup_goes_by_that_within_seconds_and_this_is_recorded(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    port, swapped = free_port(), [f"message-swaps-{n}" for n in range(3)]
    scenario = world(port, PACING="release", PACING_AFTER="0", HOLD_MS="600000")
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **scenario) as made:
        path = made.folder / "governance.yaml"
        text = path.read_text("utf-8").replace("    token_env:", "    profile: slow\n    token_env:")
        # the answer to the first is there before the second's turn, on a machine that stands still for a while as well
        path.write_text(f"{text}\nprofiles: {{slow: {{per_second: 1, base_delay_ms: 3000}}}}\n", "utf-8")
        await ingestion(made, port)
        await managed(made)
        await made.dispatcher()
        await made.send([*offers("message-first", *swapped, template=IN_TWO), *offers("message-alone")])
        await eventually(lambda: made.all_are([*swapped], *WITH_META), timeout_seconds=30)
        await eventually(lambda: made.all_are(["message-alone"], "held"), timeout_seconds=30)
        times, shown = await accepted_at(made), await made.states()
        assert shown["message-alone"]["reason"]["code"] == "template_in_assessment" and "message-alone" not in times
        went = {each: shown[each]["attempts"]["1"]["template"] for each in ("message-first", *swapped)}
        assert went == {"message-first": "festival_offer:en"} | dict.fromkeys(swapped, "festival_offer:hi")
        after = min(times[each] for each in swapped) - times["message-first"]
        assert after < SWAPPED_WITHIN_SECONDS
        print(f"the next one went by the approved backup {after:.2f} s after Meta had held the first")


@pytest.mark.req("B13", "TPL-3")
async def test_a_pause_of_three_hours_costs_no_call_and_ends_by_itself(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Three of Meta's hours pass in some seconds, but none of the lane's: it is Meta's notice that ends the pause."""
    port, waiting = free_port(), [f"message-waits-{n}" for n in range(5)]
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **world(port, TIME_SCALE=str(PAUSE_SCALE))) as made:
        await ingestion(made, port)
        await managed(made)
        dispatcher = await made.dispatcher()
        began = datetime.now(UTC)
        await rate(made, "RED")
        await eventually(lambda: stands(made, "daily_update:en", "PAUSED"), timeout_seconds=PAUSE_SECONDS)
        people = [f"+9199999{67000 + n}" for n in range(len(waiting))]
        await made.send([order(each, (ONE,), to=to) for each, to in zip(waiting, people, strict=True)])
        await made.send(offers("message-free"))
        await eventually(lambda: made.all_are(["message-free"], *WITH_META))
        await eventually(lambda: made.all_are(waiting, "held"))
        shown = await made.states()
        assert {shown[each]["reason"]["code"] for each in waiting} == {"template_paused"}
        told = [each for each in await made.events(MESSAGE_LIFECYCLE) if each.status == "held"]
        assert {each.message_id for each in told} == set(waiting)
        assert all(timedelta(hours=2.9) < each.hold_until - began < timedelta(hours=3.1) for each in told)
        assert await made.accepted() == {"message-free": 1}
        await eventually(lambda: made.all_are(waiting, *WITH_META), timeout_seconds=2 * PAUSE_SECONDS)
        assert attempts_of(await made.states(), waiting) == {1} and await refused(dispatcher) == 0
        first = min(at for each, at in (await accepted_at(made)).items() if each in waiting)
        assert first - began.timestamp() >= PAUSE_SECONDS - 1
        print(
            f"a pause of {PAUSE_SECONDS:.0f} s: no call, and the first one {first - began.timestamp():.1f} s after it"
        )
