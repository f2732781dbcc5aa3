"""The simulator keeps its answers back, breaks them, or says no: what the ledger has and what the lane says agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.event import event_id
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.topics import AUDIT_LOG, DISPATCH_ORDERS, SEND_COMMANDS
from tests.integration.dispatcher.sick_numbers import change
from tests.integration.dispatcher.stack import NUMBERS, ONE, PARTNER, POOLED, TWO, order, stack
from tests.support.wait import eventually

LOST_ANSWERS = {"0004": "reset", "0005": "html 502", "0019": "cut", "0020": "empty", "0021": "hangs", "0025": "code 2"}
NEVER_TAKEN = {"0011": "reset before", "0024": "code 1", "0026": "code 131000", "0027": "html 503"}


def of_suffix(suffix: str) -> DispatchOrder:
    """An order to a recipient whose fate at the simulator is chosen by the number's last digits."""
    return order(f"message-{suffix}", (ONE,), to=f"+91999995{suffix}", category="utility")


@pytest.mark.req("B1", "B4")
async def test_every_way_to_lose_an_answer_is_in_doubt_and_settled_by_its_status(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        orders = [of_suffix(suffix) for suffix in (*LOST_ANSWERS, *NEVER_TAKEN)]
        for each in orders:  # one by one: five in a row open the breaker, a healthy one between closes it
            await made.send([each])
            await eventually(lambda each=each: made.all_are([each.message_id], "in_doubt"))
            healthy = order(f"healthy-{each.message_id}", (ONE,), to=f"+9199999{61_000 + orders.index(each)}")
            await made.send([healthy])
            await eventually(lambda healthy=healthy: made.all_are([healthy.message_id], "submitted"))
        taken = {entry["opaque"]: entry["wamid"] for entry in await made.ledger()}
        for suffix in LOST_ANSWERS:
            await made.echo(f"message-{suffix}", ONE, 1, taken[f"message-{suffix}.1"])
        await eventually(lambda: made.all_are([f"message-{suffix}" for suffix in LOST_ANSWERS], "sent"))
        lost = [f"message-{suffix}" for suffix in NEVER_TAKEN]
        await eventually(lambda: made.all_are(lost, "unknown"), timeout_seconds=40)
        accepted = await made.accepted()
        assert {message_id for message_id in accepted if message_id.startswith("message-")} == {
            f"message-{suffix}" for suffix in LOST_ANSWERS
        }
        assert set(accepted.values()) == {1}


@pytest.mark.req("B4")
async def test_a_status_before_the_answer_is_the_answer(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="2500") as made:
        await made.dispatcher()
        await made.send([order("message-1")])

        async def taken() -> bool:
            return bool(await made.ledger())

        await eventually(taken)
        (entry,) = await made.ledger()
        await made.echo("message-1", ONE, 1, entry["wamid"])
        await eventually(lambda: made.all_are(["message-1"], "sent"), timeout_seconds=2.0)
        state = (await made.states())["message-1"]

        async def submitted() -> bool:
            return "submitted" in (await made.states())["message-1"]["first_seen"]

        await eventually(submitted, timeout_seconds=2.0)
        assert state["wamid"] == entry["wamid"]
        assert await made.accepted() == {"message-1": 1}


@pytest.mark.req("B1")
async def test_an_operators_resend_is_a_new_attempt_and_a_late_status_of_the_old_one_a_counted_duplicate(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        dispatcher = await made.dispatcher()
        await change(made, f"numbers/{TWO}", fate="response_lost")
        await made.send([order("message-1", (TWO,), category="service")])
        await eventually(lambda: made.all_are(["message-1"], "in_doubt"))
        await change(made, f"numbers/{TWO}", fate="")
        command = SendCommand.model_validate(
            {"command_id": event_id("resend"), "home": NUMBERS[TWO], "kind": "resolve_in_doubt", "target": "message-1",
             "resolution": "resend", "actor": "asha", "note": "the customer waits", "at": order("x" * 8).received_at}
        )  # fmt: skip
        await made.write(SEND_COMMANDS, [(command.home, command.home, command, None)])
        await eventually(lambda: made.all_are(["message-1"], "submitted"), timeout_seconds=30)
        ledger = await made.ledger()
        assert [entry["opaque"] for entry in ledger] == ["message-1.1", "message-1.2"]
        await made.echo("message-1", TWO, 1, ledger[0]["wamid"])

        async def counted() -> bool:
            return await dispatcher.metric("harkara_dispatcher_duplicates_total") == 1

        await eventually(counted)
        audit = [each for each in await made.events(AUDIT_LOG) if isinstance(each, AuditRecord)]
        (told,) = [each for each in audit if each.actor != "dispatcher"]
        assert (told.actor, told.action, told.details["resolution"]) == ("asha", "resolve_in_doubt", "resend")


REFUSALS = {"0001": "submitted", "0036": "failed_unsent", "0037": "failed_unsent", "0008": "submitted"}


@pytest.mark.req("B6", "DSP-13", "RTW-2")
async def test_what_the_simulator_refuses_ends_as_its_code_says(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        dispatcher = await made.dispatcher()
        sent = [of_suffix(suffix) for suffix in REFUSALS]
        window = order("message-0003", (ONE,), to="+919999950003", form="session")
        template = order("template-0003", (ONE,)).plan[0]
        sent.append(window.model_copy(update={"plan": (*window.plan, template)}))
        sent.append(order("message-0028", (PARTNER,), to="+919999950028"))  # its template is paused
        sent.append(order("message-0044", (POOLED, PARTNER), to="+919999950044", form="session"))  # 131048: 30 minutes
        await made.send(sent)
        for suffix, status in REFUSALS.items():
            await eventually(lambda suffix=suffix, status=status: made.all_are([f"message-{suffix}"], status))
        await eventually(lambda: made.all_are(["message-0003"], "submitted"))
        (by_template,) = [entry for entry in await made.ledger() if entry["opaque"].startswith("message-0003")]
        assert (by_template["opaque"], by_template["type"]) == ("message-0003.2", "template")
        await eventually(lambda: made.all_are(["message-0028", "message-0044"], "held"))
        codes = {name: state.get("error_code") for name, state in (await made.states()).items()}
        assert (codes["message-0036"], codes["message-0037"]) == (999_999, 100)
        dead = [each for each in await made.events(DISPATCH_ORDERS.dlq) if isinstance(each, DispatchOrder)]
        assert {each.message_id for each in dead} == {"message-0036", "message-0037"}
        assert await dispatcher.metric('harkara_dispatcher_alerts_total{code="999999"}') == 1
        assert await dispatcher.metric('harkara_dispatcher_alerts_total{code="131048"}') >= 1
