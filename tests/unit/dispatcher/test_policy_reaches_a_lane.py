"""What governance.yaml says of the dispatcher is what a lane does: each value from the file to its effect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harkara.dispatcher.limits import bring_up_to_date, repace
from harkara.dispatcher.senders import FEWEST_CONNECTIONS, MOST_CONNECTIONS, facts_of, policy_of
from harkara.dispatcher.tokens import Tokens
from harkara.policy.governance import Governance, load
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TIMEOUT, HandDriven, order, refused

POLICY = """\
numbers:
  - phone_number_id: "100000000000011"
    display_phone_number: "+919999900011"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    profile: mine
    token_env: TOKEN_1
pools:
  - {name: pool-a, numbers: ["100000000000011"]}
profiles:
  mine: {per_second: %(per_second)s}
compliance: {consent_mode: opt_out}
dispatch: %(dispatch)s
"""
RATE_OF_THE_ACCOUNT = 131048  # pauses the number for the policy's time


def governed(folder: Path, dispatch: str = "{}", per_second: int = 80) -> Governance:
    path = folder / "governance.yaml"
    path.write_text(POLICY % {"dispatch": dispatch, "per_second": per_second}, "utf-8")
    return load(path)


def lane_by(governance: Governance, **more: Any) -> HandDriven:
    """A lane under that policy, its numbers as the dispatcher makes them at its start."""
    lane = HandDriven(policy=policy_of(governance), **more)
    lane.fleet.update(facts_of(governance, Tokens(), 1))
    bring_up_to_date(lane.fleet, governance, datetime.fromtimestamp(lane.now, UTC))
    repace(lane.state, lane.around)
    return lane


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_1", "EAATEST-one")


@pytest.mark.req("DSP-17")
@pytest.mark.parametrize("minutes", [2, 45])
def test_how_long_a_number_rests(tmp_path: Path, minutes: int) -> None:
    lane = lane_by(governed(tmp_path, f"{{number_pause_minutes: {minutes}}}"))
    lane.take(order("m1"))
    lane.answer(refused(RATE_OF_THE_ACCOUNT), "m1")
    lane.take(order("m2"))
    calls = len(lane.attempts)
    lane.round(minutes * 60 - 1.0)
    assert len(lane.attempts) == calls
    lane.round(2.0)
    assert len(lane.attempts) > calls


@pytest.mark.parametrize("most", [1, 2, 3])
def test_how_often_a_message_is_tried(tmp_path: Path, most: int) -> None:
    lane = lane_by(governed(tmp_path, f"{{max_attempts: {most}}}"))
    lane.take(order())
    for _ in range(4):
        if lane.under_way:
            lane.answer(refused(131016, 500))
        lane.round(700.0)
    assert (len(lane.attempts), lane.status()) == (most, "failed_unsent")


@pytest.mark.parametrize(("lease", "request_timeout", "seconds"), [(5, 10, 17), (0.5, 10, 12.5), (2, 20, 24)])
def test_when_an_older_call_has_surely_ended(
    tmp_path: Path, lease: float, request_timeout: float, seconds: float
) -> None:
    said = f"{{lease_seconds: {lease}, request_timeout_seconds: {request_timeout}, " + (
        "in_doubt_timeout_seconds: {authentication: 1}}"
    )
    lane = lane_by(governed(tmp_path, said))
    lane.state.accounts = {ONE: "200000000000001"}
    lane.take(order(category="authentication"))
    lane.answer(TIMEOUT)
    lane.now = START + seconds - 0.5
    lane.state.heard_of(ONE, lane.now, lane.now)
    lane.round()
    assert len(lane.attempts) == 1
    lane.round(0.6)
    assert len(lane.attempts) == 2


@pytest.mark.parametrize("seconds", [5, 100])
def test_how_long_a_doubt_lasts_and_what_becomes_of_it(tmp_path: Path, seconds: int) -> None:
    said = f"{{in_doubt_timeout_seconds: {{authentication: {seconds}}}, in_doubt_policy: {{authentication: unknown}}}}"
    lane = lane_by(governed(tmp_path, said))
    lane.state.accounts = {ONE: "200000000000001"}
    lane.take(order(category="authentication"))
    lane.answer(TIMEOUT)
    lane.round(seconds - 0.5)
    assert lane.status() == "in_doubt"
    lane.state.heard_of(ONE, lane.now, lane.now)
    lane.round(1.0)
    assert (lane.status(), len(lane.attempts)) == ("unknown", 1)


@pytest.mark.parametrize("weight", [1, 4])
def test_how_many_turns_a_producer_has(tmp_path: Path, weight: int) -> None:
    lane = lane_by(governed(tmp_path, f"{{weights: {{billing: {weight}}}}}", per_second=1))
    lane.take(
        *(order(f"{producer}-{n:02}", producer=producer) for n in range(40) for producer in ("billing", "alerts")),
        start=False,
    )
    while len(lane.attempts) < 30:
        lane.round(1.1)
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
    billing = sum(message_id.startswith("billing") for message_id, *_ in lane.attempts[:30])
    assert billing == pytest.approx(30 * weight / (weight + 1), abs=1.5)


@pytest.mark.parametrize(
    ("per_second", "capacity"), [(3, FEWEST_CONNECTIONS), (20, 20), (80, 80), (1000, MOST_CONNECTIONS)]
)
def test_how_many_calls_may_be_under_way(tmp_path: Path, per_second: int, capacity: int) -> None:
    """With connections of their own: a second's worth, within bounds."""
    lane = lane_by(governed(tmp_path, per_second=per_second))
    lane.take(*(order(f"m{n:04}", category="marketing") for n in range(capacity + 40)), start=False)
    for _ in range(400):
        lane.round(0.05)
    assert len(lane.under_way) == capacity


def test_a_profile_that_changes_while_the_lane_works_changes_its_calls_too(tmp_path: Path) -> None:
    lane = lane_by(governed(tmp_path, per_second=20))
    lane.take(*(order(f"m{n:04}", category="marketing") for n in range(100)), start=False)
    for _ in range(200):
        lane.round(0.05)
    assert len(lane.under_way) == 20
    faster = governed(tmp_path, per_second=60)
    assert bring_up_to_date(lane.fleet, faster, datetime.fromtimestamp(lane.now, UTC)) == [ONE]
    repace(lane.state, lane.around)
    for _ in range(200):
        lane.round(0.05)
    assert len(lane.under_way) == 60
