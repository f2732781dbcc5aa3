"""A run in slots: what is previewed is the very intent that is emitted, with its slot and its life (B15, ING-17)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harkara.ingestion.acceptance import Request, RunAcceptance
from harkara.ingestion.audience import inline_rows
from harkara.ingestion.core import emitted
from harkara.ingestion.known import Known
from harkara.ingestion.requests import RunRequest
from harkara.ingestion.resolution import RowVerdict
from harkara.ingestion.runs import Caller, plan_run
from harkara.policy.governance import Governance
from harkara.policy.known import Known as Around
from harkara.policy.standings import Standings
from harkara.runtime.clock import ManualClock
from harkara.runtime.problems import Problem
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, Facts, Log, Running
from tests.unit.ingestion.test_runs import PATH, SAME, phone, run, three

HOURS = st.floats(0.01, 143, allow_nan=False)


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


async def previewed_and_emitted(
    governance: Governance, body: dict[str, Any]
) -> tuple[list[RowVerdict], list[RowVerdict]]:
    """The verdicts of a preview, and those on what the emitter makes of the accepted rows."""
    clock, log = ManualClock(NOW), Log()
    facts = Facts(Standings(), Around(clock.now), governance)
    acceptance = RunAcceptance(log, Known(), clock, facts.resolver)
    audience = body.pop("audience")
    asked = RunRequest.model_validate(body)
    plan = plan_run(asked, "r-1", Caller("shop", None, "morning"), governance, PEPPER)
    looks = lambda: map(plan.frozen, inline_rows(audience))  # noqa: E731
    request = Request("r-1", "r-2", "morning", "shop", asked, looks=looks, persons_once=True)
    before = (await acceptance.preview(request)).resolution
    await acceptance.accept(request)
    made = [emitted(row) for row in log.on("run-audience")]
    after = [facts.resolver.of(each.event, n, LONE, NOW) for n, each in enumerate(made, 1)]  # type: ignore[arg-type]
    return sorted((each for found in before.shown.values() for each in found), key=lambda each: each.row), after


@pytest.mark.req("B15", "ING-17")
@given(
    start=st.none() | HOURS | st.floats(-30, 0),
    spread=st.sampled_from([0, 1, 90, 1440]),
    expires=st.none() | HOURS,
    category=st.sampled_from(["authentication", "utility", "marketing"]),
)
def test_whatever_the_slots_the_preview_resolves_what_is_emitted(
    governance: Governance, start: float | None, spread: float, expires: float | None, category: str
) -> None:
    audience = [{"to": phone(1)}, {"to": "+12025550199"}, {"to": phone(2), "timeZone": "Pacific/Auckland"}]
    more: dict[str, Any] = {
        name: at(hours) for name, hours in (("startAt", start), ("expiresAt", expires)) if hours is not None
    }
    body = run(audience=audience, category=category, spreadMinutes=spread, **more)
    try:
        before, after = asyncio.run(previewed_and_emitted(governance, body))
    except Problem as problem:
        assert problem.code == "VALIDATION_FAILED"
        assume(False)
    assert before == after
    assert len(after) == 3


@pytest.mark.req("ING-17", "B15", "CMP-16")
@pytest.mark.parametrize(
    ("hours", "category", "verdict", "due"),
    [
        (30, "authentication", "template", at(30)),
        (96, "authentication", "template", at(96)),
        (20, "utility", "held:out_of_hours", at(25)),
        (23.6, "utility", "held:out_of_hours", at(25)),
        (30, "utility", "template", at(30)),
    ],
)
async def test_a_slot_days_ahead_has_its_life_from_there(
    running: Running, hours: float, category: str, verdict: str, due: str
) -> None:
    """06:00 in India: the default life begins in the slot, so neither the slot nor the night after it is past it."""
    preview, precheck, sent = await three(running, run(3, startAt=at(hours), category=category))
    assert preview["verdicts"] == precheck["verdicts"] == sent["verdicts"] == {verdict: 3}
    assert {row["due"] for row in preview["rows"]} == {due.replace("+00:00", "Z")}
    assert precheck["ready"]


@pytest.mark.req("B15")
@pytest.mark.parametrize(
    "more", [{"startAt": at(30)}, {"startAt": at(20), "spreadMinutes": 600}, {"spreadMinutes": 600}]
)
async def test_the_hashes_are_equal_in_the_three_steps_of_a_run_in_slots(
    running: Running, more: dict[str, Any]
) -> None:
    preview, precheck, sent = await three(running, run(20, category="utility", **more))
    for name in SAME:
        assert preview[name] == precheck[name] == sent[name], name
    hashes = {name: preview[name] for name in ("audienceHash", "verdictHash")}
    again = await running.post(PATH, run(20, category="utility", **more, **hashes), idem="morning-2")
    assert again.status_code == 202
