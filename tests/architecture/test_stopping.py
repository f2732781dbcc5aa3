"""A stop in order: each that waits for another waits longer, up to Kubernetes. At the bottom is the longest call that
the policy allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harkara.dispatcher.leaving import LEAVE_MARGIN_SECONDS, LEAVE_SECONDS
from harkara.dispatcher.membership import POLL_SECONDS, REVOKE_SECONDS
from harkara.dispatcher.senders import RETIRED_SECONDS
from harkara.policy.governance import Dispatch
from harkara.policy.sections import LONGEST_REQUEST_SECONDS
from harkara.runtime.service import GRACE_SECONDS

ROOT = Path(__file__).parents[2]
WORKLOADS = ("Deployment", "StatefulSet")
OTHERS_SECONDS = 15.0  # what the components after the lanes take together: events flushed, replicas closed
GROUP_WAITS_SECONDS = 300.0  # librdkafka's max.poll.interval.ms, which nothing here changes


def test_the_longest_call_is_the_policys() -> None:
    assert Dispatch(request_timeout_seconds=LONGEST_REQUEST_SECONDS).request_timeout_seconds == LONGEST_REQUEST_SECONDS
    with pytest.raises(ValueError, match="must be 20 or less: a dispatcher that is stopped"):
        Dispatch(request_timeout_seconds=LONGEST_REQUEST_SECONDS + 0.1)
    schema = Dispatch.model_json_schema()["properties"]["request_timeout_seconds"]
    assert schema["maximum"] == LONGEST_REQUEST_SECONDS and schema["exclusiveMinimum"] == 0


def test_whoever_waits_for_lanes_waits_longer_than_they_take() -> None:
    lane = LONGEST_REQUEST_SECONDS + 2 * LEAVE_MARGIN_SECONDS  # its calls, then its events
    lanes = LONGEST_REQUEST_SECONDS + LEAVE_SECONDS
    assert lane < lanes < REVOKE_SECONDS < GROUP_WAITS_SECONDS
    assert REVOKE_SECONDS + POLL_SECONDS + 5.0 < GRACE_SECONDS, "and its connections are closed"
    assert RETIRED_SECONDS > LEAVE_MARGIN_SECONDS, "a retired client outlives its calls"


@pytest.mark.parametrize("path", sorted((ROOT / "k8s" / "base").glob("*.yaml")), ids=lambda path: path.stem)
def test_kubernetes_kills_nobody_before_they_have_stopped(path: Path) -> None:
    pods = [each for each in yaml.safe_load_all(path.read_text("utf-8")) if (each or {}).get("kind") in WORKLOADS]
    for pod in pods:
        assert pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= GRACE_SECONDS + OTHERS_SECONDS


def test_compose_kills_nobody_before_they_have_stopped() -> None:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    waits = {name: float(re.sub(r"s$", "", str(each.get("stop_grace_period", "10s")))) for name, each in found.items()}
    assert waits["dispatcher"] >= GRACE_SECONDS + OTHERS_SECONDS
