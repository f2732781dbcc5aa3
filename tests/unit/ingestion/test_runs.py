"""Preview, precheck and send of one run are one answer; a run is told to pause, resume and cancel (ING-17, B15)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.contracts.identity import derived_run_id, person_key
from harkara.contracts.numbers import NumberState
from harkara.contracts.template_state import TemplateState
from harkara.contracts.topics import CONSENT_STATE, NUMBER_STATE, QUEUE_STATE, SERVICE_WINDOWS, TEMPLATE_STATE
from harkara.contracts.webhooks import ServiceWindow
from harkara.ingestion.resolution import MOST_REMEMBERED
from harkara.policy.governance import Governance
from tests.unit.ingestion.conftest import FIXED_KEY, LONE, NOW, PEPPER, POOL_KEY, SECOND, Running
from tests.unit.ingestion.test_standing import queue

TEMPLATE = {"name": "daily_update", "language": "en", "body": ["Asha"]}
PATH = "/api/v1/runs"
SAME = ("audienceHash", "verdictHash", "verdicts")


def phone(n: int) -> str:
    return f"+9199999{n:05}"


def run(count: int = 5, **more: Any) -> dict[str, Any]:
    audience = more.pop("audience", [{"to": phone(n)} for n in range(1, count + 1)])
    return {
        "name": "morning", "sessionId": LONE, "template": TEMPLATE, "category": "authentication", "audience": audience
    } | more  # fmt: skip


def opt_out(running: Running, *numbers: int) -> None:
    for n in numbers:
        person = person_key(PEPPER, phone(n))
        event = ConsentEvent(event_id=f"out-{n}", person_key=person, standing="opted_out", source="api", at=NOW)
        running.facts.consents.apply(CONSENT_STATE, person, advance_consent(None, event))


def write_in(running: Running, n: int, number: str = LONE) -> None:
    person = person_key(PEPPER, phone(n))
    window = ServiceWindow(phone_number_id=number, home=LONE, person_key=person, last_inbound_at=NOW)
    running.facts.around.apply(SERVICE_WINDOWS, f"{number}:{person}", window)


def halt(running: Running, number: str) -> None:
    state = NumberState(phone_number_id=number, home=LONE, version=1, verdict="halted", updated_at=NOW)
    running.facts.around.apply(NUMBER_STATE, number, state)


async def three(running: Running, body: dict[str, Any], key: str = "morning-1") -> list[dict[str, Any]]:
    answers = [await running.post(f"{PATH}/preview", body), await running.post(f"{PATH}/precheck", body)]
    answers.append(await running.post(PATH, body, idem=key))
    assert [each.status_code for each in answers] == [200, 200, 202], answers[-1].text
    return [each.json() for each in answers]


@pytest.mark.req("ING-17", "B15")
async def test_preview_precheck_and_send_are_one_answer(running: Running) -> None:
    opt_out(running, 2, 4)
    write_in(running, 3)
    body = run(
        audience=[
            {"to": phone(n), "message": "hi", "category": "service"} if n == 3 else {"to": phone(n)}
            for n in range(1, 6)
        ]
    )
    preview, precheck, sent = await three(running, body)
    for name in SAME:
        assert preview[name] == precheck[name] == sent[name], name
    assert preview["verdicts"] == {"refused:opted_out": 2, "session": 1, "template": 2}
    assert preview["outcomes"] == {"held": 0, "refused": 2, "session": 1, "template": 2}
    assert (preview["recipients"], sent["accepted"]) == (5, 5)
    assert preview["numbers"] == {LONE: 3}
    assert [row["outcome"] for row in preview["rows"]] == ["template", "refused", "session", "refused", "template"]
    assert [(row["row"], row["code"], row["rule"]) for row in precheck["rows"]] == [
        (2, "opted_out", "compliance.consent"), (4, "opted_out", "compliance.consent"),
    ]  # fmt: skip
    assert precheck["ready"]
    (accepted,) = running.log.on("send-runs")
    assert (accepted.verdicts, accepted.policy_version) == (preview["verdicts"], preview["policyVersion"])
    assert len(running.log.on("run-audience")) == 5, "the guard refuses them, by name; nobody vanishes here"
    assert phone(2) not in str(preview) + str(precheck)


@pytest.mark.req("ING-17", "CMP-11")
async def test_a_text_that_repeats_a_dearer_template_is_refused_in_the_preview_as_by_the_router(
    running: Running,
) -> None:
    offer = "Our festival offer on gold plans ends this Sunday at midnight, so join now."
    told = {"waba_id": "2", "name": "offer", "language": "en", "status": "APPROVED", "category": "MARKETING"}
    state = TemplateState.model_validate(
        told | {"version": 1, "wording": f"Dear {{{{1}}}}, {offer}", "observed_at": NOW, "updated_at": NOW}
    )
    running.facts.around.apply(TEMPLATE_STATE, state.key, state)
    for n in (1, 2):
        write_in(running, n)
    rows = [{"to": phone(n), "message": body, "category": "service"} for n, body in ((1, f"Hi! {offer}"), (2, "Hi!"))]
    preview, precheck, _ = await three(running, run(audience=rows))
    assert preview["verdicts"] == {"refused:content_repeats_template": 1, "session": 1}
    assert [(row["row"], row["code"], row["rule"]) for row in precheck["rows"]] == [
        (1, "content_repeats_template", "content")
    ]
    assert "offer" in str(precheck["rows"]) and "festival" not in str(precheck["rows"])


@pytest.mark.req("ING-17")
async def test_a_preview_writes_nothing_and_is_not_repeated_by_a_send(running: Running) -> None:
    await running.post(f"{PATH}/preview", run())
    assert running.log.written == []
    assert (await running.post(PATH, run(), idem="morning-1")).json()["repeated"] is False


@pytest.mark.req("B15")
async def test_a_hash_that_still_holds_is_accepted_and_one_that_does_not_tells_the_difference(running: Running) -> None:
    preview = (await running.post(f"{PATH}/preview", run())).json()
    hashes = {name: preview[name] for name in ("audienceHash", "verdictHash")}
    opt_out(running, 3)
    answer = await running.post(PATH, run(**hashes), idem="morning-1")
    assert (answer.status_code, answer.json()["code"]) == (409, "AUDIENCE_CHANGED")
    told = answer.json()
    assert told["audienceHash"] == hashes["audienceHash"]
    assert told["verdictHash"] != hashes["verdictHash"]
    assert told["difference"]["changes"] == [{"row": 3, "was": f"template by {LONE}", "is": "refused:opted_out"}]
    assert told["difference"]["before"] == {"template": 5}
    assert running.log.written == []
    hashes["verdictHash"] = told["verdictHash"]
    assert (await running.post(PATH, run(**hashes), idem="morning-1")).status_code == 202


@pytest.mark.req("B15")
async def test_another_audience_than_the_previewed_one_is_refused(running: Running) -> None:
    preview = (await running.post(f"{PATH}/preview", run(4))).json()
    audience = [{"to": phone(n), "params": ["Ravi"] if n == 2 else None} for n in range(1, 6)]
    answer = await running.post(PATH, run(audience=audience, audienceHash=preview["audienceHash"]), idem="morning-1")
    told = answer.json()["difference"]
    assert (answer.status_code, told["content"], told["added"], told["removed"]) == (409, 1, 1, 0)
    only_content = run(4, audienceHash=preview["audienceHash"])
    opt_out(running, 1)
    assert (await running.post(PATH, only_content, idem="morning-2")).status_code == 202, "its verdicts were not asked"


async def test_of_a_preview_that_is_forgotten_the_answer_says_what_is_now(running: Running) -> None:
    preview = (await running.post(f"{PATH}/preview", run(1))).json()
    for n in range(MOST_REMEMBERED):
        await running.post(f"{PATH}/preview", run(1, name=f"another-{n}"))
    opt_out(running, 1)
    answer = await running.post(PATH, run(1, verdictHash=preview["verdictHash"]), idem="morning-1")
    assert answer.status_code == 409
    assert "difference" not in answer.json()
    assert answer.json()["verdicts"] == {"refused:opted_out": 1}


@pytest.mark.req("B15")
async def test_without_knowing_consent_nothing_is_previewed_and_a_run_goes_without_verdicts(running: Running) -> None:
    running.facts.fresh = False
    for path, body in ((f"{PATH}/preview", run()), (f"{PATH}/precheck", run()), (PATH, run(verdictHash="0" * 32))):
        answer = await running.post(path, body, idem="morning-1")
        assert (answer.status_code, answer.json()["code"]) == (503, "POLICY_FACTS_UNKNOWN")
        assert answer.headers["retry-after"] == "5"
    sent = (await running.post(PATH, run(), idem="morning-1")).json()
    assert (sent["verdicts"], sent["verdictHash"], sent["accepted"]) == ({}, None, 5)


@pytest.mark.req("ING-17")
async def test_what_would_wait_is_told_with_its_reason(running: Running) -> None:
    halt(running, LONE)
    precheck = (await running.post(f"{PATH}/precheck", run(2))).json()
    assert precheck["verdicts"] == {"held:number_halted": 2}
    assert {row["code"] for row in precheck["rows"]} == {"number_halted"}
    assert [each["code"] for each in precheck["warnings"]] == ["some_held", "pace_unknown"]


@pytest.mark.req("ING-17", "B24")
async def test_the_estimate_of_a_preview_is_that_of_the_sent_run(running: Running, governance: Governance) -> None:
    """The caller's weight counts, and its runs that wait share its turns; another's run does not take more of them."""
    weighted = governance.dispatch.model_copy(update={"weights": {"shop": 4.0}})
    running.api.follow(governance.model_copy(update={"dispatch": weighted}))
    flows = [
        {"priority": 1, "flow": "r-desk", "queued": 5000, "producer": "desk", "weight": 1.0},
        {"priority": 1, "flow": "r-shop", "queued": 30, "producer": "shop", "weight": 4.0},
    ]
    running.known.apply(QUEUE_STATE, LONE, queue(waiting=5030, flows=flows))
    end = NOW + timedelta(seconds=39 + 30 + (39 + 30 + 1) / 4 - 0.5)
    in_time = run(40, deadline=(end + timedelta(seconds=1)).isoformat())
    preview, precheck, sent = await three(running, in_time)
    told = {each["estimatedCompletion"] for each in (preview, precheck, sent)}
    assert len(told) == 1 and abs(datetime.fromisoformat(told.pop()) - end) <= timedelta(seconds=1)
    assert precheck["ready"] and precheck["warnings"] == []


@pytest.mark.req("ING-17", "B24")
@pytest.mark.parametrize("slots", [{}, {"spreadMinutes": 30}])
async def test_while_the_lane_is_silent_no_estimate_is_made_of_the_slots(
    running: Running, slots: dict[str, int]
) -> None:
    running.known.apply(QUEUE_STATE, LONE, queue())
    last = NOW + timedelta(minutes=24 if slots else 0, seconds=0 if slots else 4)
    preview, precheck, sent = await three(running, run(**slots))
    assert {datetime.fromisoformat(each["estimatedCompletion"]) for each in (preview, precheck, sent)} == {last}
    assert precheck["warnings"] == []
    running.clock.advance(61)
    unknown = await three(running, run(**slots), key="morning-2")
    assert [each["estimatedCompletion"] for each in unknown] == [None] * 3
    assert [each["code"] for each in unknown[1]["warnings"]] == ["pace_unknown"]


@pytest.mark.req("ING-17")
async def test_a_last_slot_after_the_deadline_is_late_at_any_pace(running: Running) -> None:
    body = run(spreadMinutes=30, deadline=(NOW + timedelta(minutes=20)).isoformat())
    precheck = (await running.post(f"{PATH}/precheck", body)).json()
    assert (precheck["ready"], precheck["estimatedCompletion"]) == (False, None)
    assert [each["code"] for each in precheck["warnings"]] == ["pace_unknown", "deadline_missed"]
    assert "240 s after the deadline" in precheck["warnings"][1]["text"]


@pytest.mark.req("ING-17", "CMP-16")
async def test_who_sleeps_is_held_until_the_morning(running: Running) -> None:
    preview = (await running.post(f"{PATH}/preview", run(1, category="utility"))).json()
    (row,) = preview["rows"]
    assert (row["outcome"], row["code"], row["due"]) == ("held", "out_of_hours", "2026-11-21T01:30:00Z")


@pytest.mark.req("ING-17")
async def test_a_run_in_which_nobody_goes_is_not_ready(running: Running) -> None:
    opt_out(running, 1, 2)
    precheck = (await running.post(f"{PATH}/precheck", run(2))).json()
    assert not precheck["ready"]
    assert precheck["warnings"][0]["code"] == "nobody_goes"


@pytest.mark.req("ING-17")
async def test_a_changed_policy_counts_from_the_next_preview(running: Running, governance: Governance) -> None:
    before = (await running.post(f"{PATH}/preview", run())).json()
    strict = governance.compliance.model_copy(update={"consent_mode": "explicit"})
    running.facts.resolver.follow(governance.model_copy(update={"compliance": strict}))
    after = (await running.post(f"{PATH}/preview", run())).json()
    assert (before["verdicts"], after["verdicts"]) == ({"template": 5}, {"refused:no_opt_in": 5})
    assert before["audienceHash"] == after["audienceHash"]


@pytest.mark.req("ING-16")
async def test_filters_choose_the_audience_and_the_run_keeps_them(running: Running) -> None:
    audience = [
        {"to": phone(1), "language": "hi", "metadata": {"tier": "gold"}},
        {"to": phone(2), "language": "hi", "metadata": {"tier": "blue"}},
        {"to": phone(3), "language": "en", "metadata": {"tier": "gold"}},
        {"to": "+12025550199", "language": "hi", "metadata": {"tier": "gold"}},
        {"to": phone(5), "language": "hi", "metadata": {"tier": "silver"}},
    ]
    filters = {"countries": ["IN"], "languages": ["hi"], "metadata": {"tier": ["gold", "silver"]}}
    preview, _, sent = await three(running, run(audience=audience, filters=filters, spreadMinutes=10))
    assert (preview["recipients"], preview["leftOut"], sent["accepted"], sent["leftOut"]) == (2, 3, 2, 3)
    assert [row["row"] for row in preview["rows"]] == [1, 5]
    rows = running.log.on("run-audience")
    assert [row.emit_at for row in rows] == [NOW, NOW + timedelta(minutes=5)], "slots are of those who go"
    (accepted,) = running.log.on("send-runs")
    assert accepted.filters == {"countries": ("IN",), "languages": ("hi",), "metadata.tier": ("gold", "silver")}
    nobody = await running.post(f"{PATH}/preview", run(audience=audience, filters={"languages": ["mr"]}))
    assert (nobody.status_code, nobody.json()["errors"][0]["message"]) == (422, "has no rows that meet the filters")


@pytest.mark.req("ING-21")
async def test_a_dry_run_has_the_same_hash_and_is_not_taken_for_the_run(running: Running) -> None:
    rehearsed = await running.post(PATH, run(dryRun=True, deadline="2026-11-21T02:00:00Z"), idem="morning-1")
    assert rehearsed.json()["dryRun"] is True
    assert all(row.intent.dry_run for row in running.log.on("run-audience"))
    assert running.log.on("send-runs")[0].deadline is None
    again = await running.post(PATH, run(deadline="2026-11-21T02:00:00Z"), idem="morning-1")
    assert (again.status_code, again.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    hashes = {"audienceHash": rehearsed.json()["audienceHash"], "verdictHash": rehearsed.json()["verdictHash"]}
    real = await running.post(PATH, run(deadline="2026-11-21T02:00:00Z", **hashes), idem="morning-2")
    assert (real.status_code, real.json()["dryRun"]) == (202, False)


@pytest.mark.req("ING-20", "ING-21")
@pytest.mark.parametrize("first_is_dry", [True, False])
async def test_a_dry_run_and_the_run_at_one_moment_by_one_key_are_one_and_a_conflict(
    running: Running, first_is_dry: bool
) -> None:
    both = (run(dryRun=first_is_dry), run(dryRun=not first_is_dry))
    answers = await asyncio.gather(*(running.post(PATH, body, idem="morning-1") for body in both))
    assert sorted(each.status_code for each in answers) == [202, 409]
    assert [each.json()["code"] for each in answers if each.status_code == 409] == ["IDEMPOTENCY_CONFLICT"]
    (accepted,) = running.log.on("send-runs")
    assert {row.intent.dry_run for row in running.log.on("run-audience")} == {accepted.dry_run}


@pytest.mark.req("ING-20")
async def test_one_run_asked_for_twice_at_one_moment_is_written_once(running: Running) -> None:
    answers = await asyncio.gather(*(running.post(PATH, run(), idem="morning-1") for _ in range(3)))
    assert [each.status_code for each in answers] == [202] * 3
    assert sorted(each.json()["repeated"] for each in answers) == [False, True, True]
    assert len(running.log.on("run-audience")) == 5 and len(running.log.on("send-runs")) == 1


@pytest.mark.req("ING-21")
async def test_where_the_other_instance_took_the_run_at_the_same_moment_a_dry_run_takes_none_of_its_messages(
    running: Running,
) -> None:
    await running.post(PATH, run(), idem="morning-1")
    running.known.runs.clear()  # the other instance has not read of it yet
    assert (await running.post(PATH, run(dryRun=True), idem="morning-1")).status_code == 202
    real, dry = ([row.intent.message_id for row in running.log.on("run-audience")][part] for part in (
        slice(5), slice(5, None),
    ))  # fmt: skip
    assert len({*real, *dry}) == 10
    assert len({each.run_id for each in running.log.on("send-runs")}) == 2
    again = await running.post(PATH, run(), idem="morning-1")
    assert (again.status_code, again.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


async def test_a_dry_run_that_was_accepted_before_it_had_an_id_of_its_own_is_known_again(running: Running) -> None:
    first = (await running.post(PATH, run(dryRun=True), idem="morning-1")).json()
    of_the_key = derived_run_id("shop", "morning-1")
    running.known.remember(running.known.runs.pop(first["runId"]).model_copy(update={"run_id": of_the_key}))
    again = (await running.post(PATH, run(dryRun=True), idem="morning-1")).json()
    assert (again["repeated"], again["runId"]) == (True, of_the_key)


@pytest.mark.req("B15")
@pytest.mark.parametrize("word", ["pause", "resume", "cancel"])
async def test_a_word_goes_to_each_of_the_runs_lanes(running: Running, word: str) -> None:
    body = run(20, sessionId=None, senders=[LONE, SECOND])
    run_id = (await running.post(PATH, body, idem="morning-1")).json()["runId"]
    running.clock.advance(-5.0)
    answer = await running.post(f"{PATH}/{run_id}/{word}", {"note": "wrong price"})
    assert answer.status_code == 202
    commands = running.log.on("send-commands")
    assert sorted(each.home for each in commands) == sorted([LONE, "advisors"])
    assert {(each.kind, each.target, each.actor, each.note) for each in commands} == {
        (f"{word}_run", run_id, "shop", "wrong price")
    }
    assert {each.at for each in commands} == {NOW}, "no older than the run, whoever's clock is behind"
    assert [each.command_id for each in commands] == answer.json()["commandIds"]
    (audit,) = [each for each in running.log.on("audit-log") if each.action == f"{word}_run"]
    assert (audit.subject, audit.actor) == (run_id, "shop")


async def test_words_on_what_is_not_theirs_or_not_known(running: Running) -> None:
    run_id = (await running.post(PATH, run(2), idem="morning-1")).json()["runId"]
    statuses: Iterable[tuple[str, str, int]] = (
        (f"{run_id}/pause", FIXED_KEY, 202), (f"{run_id}/pause", POOL_KEY, 404), ("r-unknown/pause", FIXED_KEY, 404),
        (f"{run_id}/explode", FIXED_KEY, 422),
    )  # fmt: skip
    for path, key, status in statuses:
        answer = await running.post(f"{PATH}/{path}", key=key)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
            status, "application/json" if status == 202 else "application/problem+json",
        )  # fmt: skip
