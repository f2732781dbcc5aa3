"""`harkara policy whatif`: what differs, what cannot be compared, and what it asks the console for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harkara.cli.main import app
from harkara.contracts.event import Decision
from harkara.policy.governance import Governance
from harkara.policy.reload import content_of
from tests.unit.cli.test_policy_commands import console
from tests.unit.policy.cases import policy
from tests.unit.policy.test_comparable import clearance, of_before, routing

CAPS = {"frequency_caps": [{"purpose": "utility", "most": 1, "per_hours": 24}]}


def tried(folder: Path, new: dict[str, Any], *kept: tuple[str, Decision], then: Governance | None = None) -> Any:
    """The output against a console that has these decisions and the policy of then; and what it was asked."""
    file = folder / "new.yaml"
    content = policy(compliance={"consent_mode": "opt_out"} | new).model_dump(mode="json", exclude_defaults=True)
    file.write_text(json.dumps(content))
    rows = [{"messageId": message, "decision": each.model_dump(mode="json")} for message, each in kept]
    body = {"decisions": rows, "version": "v", "content": None if then is None else content_of(then)}
    with console(200, body) as (url, asked):
        command = ["policy", "whatif", "--policy", str(file), "--since", "7d", "--url", url]
        results = [CliRunner().invoke(app, [*command, *more]) for more in ([], ["--json"])]
    assert [each.exit_code for each in results] == [0, 0], results[0].output
    return results[0].stdout, json.loads(results[1].stdout), asked


@pytest.mark.req("B11", "DX-3")
def test_what_cannot_be_compared_is_said_by_name(tmp_path: Path) -> None:
    shown, told, _ = tried(tmp_path, CAPS, ("m-1", clearance()), ("m-1", routing()))
    assert "0 would come out otherwise, 1 the same, 1 cannot be compared; 0 come after" in shown
    assert "Not comparable" in shown and "what went to the person before" in shown
    reason = {"step": "contact", "notKept": "what went to the person before", "count": 1}
    assert (told["notComparable"], told["same"], told["kinds"]) == ([reason], 1, [])


@pytest.mark.req("B11", "DX-3")
def test_a_difference_is_listed_once_a_message(tmp_path: Path) -> None:
    shown, told, _ = tried(
        tmp_path, {"allowed_countries": ["US"]}, ("m-1", clearance()), ("m-1", routing()), ("m-2", clearance())
    )
    assert "2 would come out otherwise, 0 the same, 0 cannot be compared; 1 come after one of those" in shown
    assert "Not comparable" not in shown and told["notComparable"] == []
    assert [each["messageId"] for each in told["differences"]] == ["m-1", "m-2"]
    assert told["kinds"] == [
        {"step": "clearance", "was": "cleared", "would": "rejected: country_not_allowed", "count": 2}
    ]


@pytest.mark.req("B11")
def test_the_policy_of_then_is_asked_for_once_and_says_what_it_had_asked(tmp_path: Path) -> None:
    then = policy(compliance={"consent_mode": "opt_out", "allowed_countries": ["IN", "US"]})
    nowhere = of_before(clearance(then, to="+999123456789"), "country")
    new = {"allowed_countries": ["IN"]}
    _, told, asked = tried(tmp_path, new, ("m-1", nowhere), ("m-2", nowhere), then=then)
    assert (told["same"], told["notComparable"]) == (2, [])
    assert [each for each in asked if "/policies/" in each] == [f"/api/v1/decisions/policies/{then.version} "] * 2
    _, told, _ = tried(tmp_path, new, ("m-1", nowhere), ("m-2", nowhere))
    assert told["notComparable"] == [{"step": "clearance", "notKept": "the recipient's country", "count": 2}]
