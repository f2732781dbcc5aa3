"""What a running service may take up of a changed policy, and that a recorded policy is the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harkara.policy.governance import load
from harkara.policy.reload import LARGEST_ON_RECORD, from_record, moved_portfolios, needs_restart, on_record
from tests.unit.policy.cases import ALONE, FIRST, NOW, PERSON, SECOND, number, policy

ROOT = Path(__file__).parents[3]
THIRD = "100000000000009"
PORTFOLIO, OTHER_PORTFOLIO = "300000000000001", "300000000000002"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"compliance": {"consent_mode": "explicit", "allowed_countries": ["IN"]}}, []),
        ({"routing": {"window_margin_minutes": 30}}, []),
        ({"numbers": [number(SECOND), number(ALONE), number(FIRST, profile="governance")]}, []),
        ({"pools": [{"name": "advisors", "numbers": [SECOND, FIRST]}]}, []),
        ({"numbers": [number(n) for n in (ALONE, FIRST, SECOND, THIRD)]}, [f"number {THIRD} is new"]),
        ({"numbers": [number(n) for n in (FIRST, SECOND)]}, [f"number {ALONE} is gone"]),
        ({"pools": [{"name": "advisers", "numbers": [FIRST, SECOND]}]}, ["pools are others"]),
        ({"pools": [{"name": "advisors", "numbers": [FIRST]}]}, ["pools are others"]),
        ({"pools": []}, ["pools are others"]),
    ],
)
def test_all_but_the_homes_may_change_while_running(changes: dict[str, Any], expected: list[str]) -> None:
    assert needs_restart(policy(), policy(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"portfolios": [{"id": PORTFOLIO, "limit": 100}]}, []),
        ({"portfolios": [{"id": PORTFOLIO, "limit": "unlimited"}]}, []),
        ({"portfolios": []}, ["portfolios are others"]),
        ({"portfolios": [{"id": PORTFOLIO, "limit": 250}, {"id": OTHER_PORTFOLIO, "limit": 250}]}, [
            "portfolios are others", f"number {SECOND} has another portfolio_id",
        ]),
    ],
)  # fmt: skip
def test_a_portfolios_limit_may_change_while_running_and_not_which_there_are(
    changes: dict[str, Any], expected: list[str]
) -> None:
    moved = OTHER_PORTFOLIO if len(changes["portfolios"]) > 1 else PORTFOLIO
    numbers = [number(ALONE), number(FIRST), number(SECOND, portfolio_id=moved)]
    before = policy(portfolios=[{"id": PORTFOLIO, "limit": 250}])
    assert moved_portfolios(before, policy(numbers=numbers, **changes)) == expected


def test_a_recorded_policy_reads_back_as_the_same_version() -> None:
    paths = [ROOT / "examples/governance.yaml", *ROOT.glob("k8s/**/governance.yaml")]
    policies = [load(path) for path in paths] + [
        policy(),
        policy(routing={}),
        policy(profiles={"slow": {"per_second": 1}}),
    ]
    for each in policies:
        record = on_record(each, "compliance-guard", NOW)
        assert (record.action, record.actor, record.subject) == ("policy_applied", "compliance-guard", each.version)
        back = from_record(record.details["content"], each.version)
        assert back.version == each.version
        without = {"numbers": {"__all__": {"display_phone_number"}}}
        assert back.model_dump(exclude=without) == each.model_dump(exclude=without)
        assert not any(number.display_phone_number in record.details["content"] for number in each.numbers)


def test_records_of_one_policy_of_one_service_are_one() -> None:
    ids = {on_record(policy(), service, NOW).audit_id for service in ("compliance-guard", "window-router")}
    assert len(ids) == 2
    assert on_record(policy(), "window-router", NOW).audit_id in ids
    assert on_record(policy(routing={}), "window-router", NOW).audit_id not in ids


def test_a_policy_too_large_for_a_record_is_named_without_its_content() -> None:
    many = [f"{int(PERSON, 16) + n:032x}" for n in range(10_000)]
    numbers = [number(f"1{n:014}", display_phone_number=f"+9199999{n:05}") for n in range(1200)]
    large = policy(numbers=numbers, pools=[], compliance={"consent_mode": "opt_out", "do_not_message": many})
    assert len(large.model_dump_json(exclude_defaults=True)) > LARGEST_ON_RECORD
    assert on_record(large, "window-router", NOW).details == {"service": "window-router"}
