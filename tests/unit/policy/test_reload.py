"""What a running service may take up of a changed policy, and that a recorded policy is the policy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from harkara.policy.governance import BUILT_IN_PROFILES, load
from harkara.policy.reload import (
    LARGEST_ON_RECORD,
    content_of,
    from_record,
    moved_portfolios,
    needs_restart,
    on_record,
)
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


@pytest.mark.req("B11")
def test_each_taking_up_of_a_policy_is_a_record_of_its_own() -> None:
    """A policy that comes back has its old version, and is in force anew."""
    later = NOW + timedelta(microseconds=1)
    taken_up = [(policy(), NOW), (policy(routing={}), NOW), (policy(), later), (policy(), NOW)]
    ids = [on_record(each, service, at).audit_id for service in ("guard", "router") for each, at in taken_up]
    assert len(set(ids)) == 6 and ids[0] == ids[3] and ids[4] == ids[7]


@pytest.mark.req("B11")
def test_a_recorded_policy_says_what_the_file_left_to_the_release() -> None:
    """So that another release, with other defaults and other built-in profiles, explains its decisions the same."""
    content = orjson.loads(content_of(policy()))
    assert content["routing"]["window_margin_minutes"] == 10.0
    assert content["compliance"]["allowed_countries"] == [] and content["templates"]["unknown"] == "allow"
    content["routing"]["window_margin_minutes"] = 25.0
    content["profiles"]["cloud-api"]["per_second"] = 40
    then = from_record(orjson.dumps(content).decode(), "of then")
    assert (then.version, then.routing.window_margin_minutes) == ("of then", 25.0)
    assert {then.profile_of(number).per_second for number in then.numbers} == {40}
    assert BUILT_IN_PROFILES["cloud-api"].per_second == then.profiles["cloud-api"].per_second == 80


def test_a_record_of_before_left_out_what_was_the_default() -> None:
    content = orjson.dumps(policy(routing={}).model_dump(mode="json", exclude_defaults=True)).decode()
    assert len(content) < len(content_of(policy(routing={}))) / 2
    assert from_record(content, "of then").routing == policy(routing={}).routing


@pytest.mark.req("B11")
def test_a_recorded_policy_with_calls_as_long_as_they_once_might_be_is_still_read() -> None:
    content = orjson.loads(content_of(policy()))
    content["dispatch"]["request_timeout_seconds"] = 30.0
    then = from_record(orjson.dumps(content).decode(), "of then")
    assert (then.version, then.dispatch.request_timeout_seconds) == ("of then", 20.0)
    assert then.compliance == policy().compliance and then.routing == policy().routing
    content["dispatch"]["request_timeout_seconds"] = 7.5
    assert from_record(orjson.dumps(content).decode(), "of then").dispatch.request_timeout_seconds == 7.5


def test_a_policy_too_large_for_a_record_is_named_without_its_content() -> None:
    many = [f"{int(PERSON, 16) + n:032x}" for n in range(10_000)]
    numbers = [number(f"1{n:014}", display_phone_number=f"+9199999{n:05}") for n in range(1200)]
    tags = [f"{n:064}" for n in range(10_000)]
    compliance = {"consent_mode": "opt_out", "do_not_message": many, "content_approval": {"tags": tags}}
    large = policy(numbers=numbers, pools=[], compliance=compliance)
    assert len(content_of(large)) > LARGEST_ON_RECORD
    assert on_record(large, "window-router", NOW).details == {"service": "window-router"}
