"""A run in the console: what it was chosen by, what became of each recipient, and the words on it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from harkara.console.settings import Settings
from harkara.contracts.commands import SendCommand
from harkara.contracts.envelope import decode
from harkara.contracts.event import Reason
from harkara.contracts.lifecycle import MessageState, advance
from harkara.contracts.runs import RunCounts, RunProgress, SendRun
from harkara.contracts.topics import MESSAGE_STATE, RUN_PROGRESS, SEND_COMMANDS, SEND_RUNS
from harkara.runtime.kafka import Output
from tests.integration.console.conftest import BOUND_KEY, Console
from tests.integration.console.test_read_side import AT, HOME, lifecycle
from tests.support.kafka import read_all

RUN = SendRun(
    run_id="r-1", name="morning", producer="shop", expected=2, homes={HOME: 1, "advisors": 1}, audience_hash="a" * 32,
    created_at=AT, filters={"languages": ("hi",)}, left_out=3, verdicts={"refused:opted_out": 1, "template": 1},
    verdict_hash="b" * 32, policy_version="0123456789ab", dry_run=True,
)  # fmt: skip
OPTED_OUT = Reason(code="opted_out", text="The person opted out.", rule="compliance.consent")


async def written(console: Console) -> None:
    facts = {"run_id": "r-1", "person_key": "f" * 32, "category": "utility"}
    called = {"wamid": "wamid.A", "template": "daily_update:en", "form": "template", "phone_number_id": HOME}
    sent = advance(None, lifecycle("m-sent-0001", "submitted", AT, attempt=1).model_copy(update=facts | called))
    refused = lifecycle("m-refused-1", "rejected", AT).model_copy(update=facts | {"reason": OPTED_OUT})
    counts = RunCounts(
        by_status={"rejected": 1, "submitted": 1}, by_reason={"opted_out": 1}, delivered=0, on_time=0, ended=1
    )
    progress = RunProgress(run_id="r-1", partition=0, version=1, counts=counts, updated_at=AT)
    states = [MessageState.model_validate(each) for each in (sent, advance(None, refused))]
    outputs = [Output(MESSAGE_STATE, HOME, each.message_id, each, each.message_id, AT) for each in states]
    outputs.append(Output(SEND_RUNS, "r-1", "r-1", RUN, "r", AT))
    outputs.append(Output(RUN_PROGRESS, "r-1", "r-1-0", progress, "p", AT))
    await console.write(outputs)


@pytest.mark.req("ING-16", "CMP-8", "UI-1")
async def test_a_run_keeps_its_filters_its_counters_and_each_recipient(console: Console) -> None:
    await written(console)
    found = await console.until("/api/v1/runs/r-1", lambda a: bool(a["byStatus"]))
    assert (found["filters"], found["leftOut"], found["dryRun"]) == ({"languages": ["hi"]}, 3, True)
    assert (found["verdicts"], found["byReason"]) == ({"refused:opted_out": 1, "template": 1}, {"opted_out": 1})
    assert (found["audienceHash"], found["verdictHash"]) == ("a" * 32, "b" * 32)
    path = "/api/v1/runs/r-1/recipients"
    first = await console.until(f"{path}?limit=1", lambda a: len(a["recipients"]) == 1 and a["after"] is not None)
    (refused,) = first["recipients"]
    assert (refused["messageId"], refused["status"], refused["wamid"]) == ("m-refused-1", "rejected", None)
    assert refused["reason"]["code"] == "opted_out"
    (sent,) = (await console.http.get(f"{path}?limit=10&after={first['after']}")).json()["recipients"]
    assert (sent["wamid"], sent["template"], sent["form"], sent["category"], sent["attempts"]) == (
        "wamid.A", "daily_update:en", "template", "utility", 1,
    )  # fmt: skip
    only = (await console.http.get(f"{path}?status=rejected")).json()
    assert ([each["messageId"] for each in only["recipients"]], only["after"]) == (["m-refused-1"], None)
    assert (await console.http.get(path, headers={"X-API-Key": BOUND_KEY})).status_code == 404


@pytest.mark.req("B15", "UI-1")
async def test_words_on_a_run_reach_its_lanes_and_its_state_is_shown(console: Console, settings: Settings) -> None:
    await written(console)
    assert (await console.until("/api/v1/runs/r-1", lambda a: True))["state"] == "running"
    http = console.http
    assert len((await http.post("/api/v1/runs/r-1/pause", json={"note": "wait"})).json()["commandIds"]) == 2
    paused = await console.until("/api/v1/runs/r-1", lambda a: a["state"] == "paused")
    assert paused["toldBy"] == "ops"
    assert "paused" in (await http.get("/runs/r-1")).text
    assert (await http.post("/runs/r-1/resume")).status_code in (303, 403)
    assert (await http.post("/api/v1/runs/r-1/resume")).status_code == 202
    await console.until("/api/v1/runs/r-1", lambda a: a["state"] == "running")
    assert (await http.delete("/api/v1/runs/r-1")).status_code == 202
    await console.until("/api/v1/runs/r-1", lambda a: a["state"] == "cancelled")
    assert (await http.post("/api/v1/runs/r-1/resume")).status_code == 202
    refused = [
        await http.post("/api/v1/runs/r-none/pause"),
        await http.post("/api/v1/runs/r-1/pause", headers={"X-API-Key": BOUND_KEY}),
    ]
    assert [each.status_code for each in refused] == [404, 404]
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(SEND_COMMANDS))
    events = [decode(SEND_COMMANDS.events, each.value, each.headers, fallback_id="x").event for each in records]
    told = {(each.kind, each.home) for each in events if isinstance(each, SendCommand)}
    assert told == {(kind, home) for kind in ("pause_run", "resume_run", "cancel_run") for home in (HOME, "advisors")}
    assert all(each.at >= AT + timedelta(0) for each in events if isinstance(each, SendCommand))
    await console.until("/api/v1/runs/r-1", lambda a: a["state"] == "cancelled")
