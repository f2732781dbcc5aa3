"""`harkara audit` against a far side that shows two chains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harkara.contracts.audit import CHAIN_START, AuditRecord, linked_hash
from tests.unit.cli.test_run_commands import Far, far  # noqa: F401  (the fixture)


def shown(far: Far, *, changed: bool = False) -> None:  # noqa: F811
    """A chain of two records, of which the second may say something else than its hash."""
    before, links = CHAIN_START, []
    for number in (1, 2):
        values = {
            "audit_id": f"a-{number}", "actor": "asha", "action": "halt", "subject": "100000000000001",
            "at": "2026-11-21T01:02:03.000004Z", "details": {"note": "by hand"},
        }  # fmt: skip
        before = linked_hash(before, AuditRecord.model_validate(values))
        links.append(values | {"chain": 0, "link": number, "hash": before})
    if changed:
        links[1]["actor"] = "ravi"
    head = {"chain": 0, "link": 2, "hash": before}
    far.answers["/api/v1/audit/heads"] = (200, {"chains": [head], "unlinked": 3})
    far.answers["/api/v1/audit/chains/0?after=0&limit=1000"] = (200, {"links": links})
    far.answers["/api/v1/audit/chains/0?after=2&limit=1000"] = (200, {"links": []})


def test_a_whole_chain_is_said_to_be_whole(far: Far) -> None:  # noqa: F811
    shown(far)
    result = far.run("audit", "verify")
    assert result.exit_code == 0
    assert "2 records in 1 chains, which stand for 0 decisions; 3 records from before there were" in result.output
    assert "each chain is whole" in result.output and "compare with ends kept elsewhere" in result.output


def test_one_changed_word_is_named(far: Far) -> None:  # noqa: F811
    shown(far, changed=True)
    result = far.run("audit", "verify")
    assert result.exit_code == 1
    assert "chain 0: record 2 (a-2) is not what was written" in result.output
    assert "each chain is whole" not in result.output


@pytest.mark.parametrize("link", [3, 1000])
def test_a_record_that_was_put_in_behind_the_end_is_named(far: Far, link: int) -> None:  # noqa: F811
    shown(far)
    put_in = {
        "audit_id": "a-x", "actor": "mallory", "action": "resume", "subject": "100000000000001",
        "at": "2026-11-21T01:02:03.000005Z", "details": {}, "chain": 0, "link": link, "hash": "ab" * 32,
    }  # fmt: skip
    far.answers["/api/v1/audit/chains/0?after=2&limit=1000"] = (200, {"links": [put_in]})
    result = far.run("audit", "verify")
    assert result.exit_code == 1
    assert "chain 0: record 3" in result.output


@pytest.mark.parametrize(("link", "code"), [(2, 0), (5, 1)])
def test_the_ends_that_were_kept_are_compared(far: Far, tmp_path: Path, link: int, code: int) -> None:  # noqa: F811
    shown(far)
    kept, unlinked = json.loads(far.run("audit", "heads").output)
    assert unlinked == {"unlinked": 3, "unwitnessed": 0}
    (tmp_path / "heads.json").write_text(json.dumps([kept | {"link": link}]))
    assert far.run("audit", "verify", "--kept", str(tmp_path / "heads.json")).exit_code == code


@pytest.mark.parametrize("kept", ["", "{}", "[1]", "no json", '[{"chain": 0}]'])
def test_a_file_that_heads_did_not_print_is_said_to_be_one(far: Far, tmp_path: Path, kept: str) -> None:  # noqa: F811
    shown(far)
    (tmp_path / "heads.json").write_text(kept)
    result = far.run("audit", "verify", "--kept", str(tmp_path / "heads.json"))
    assert result.exit_code == 2 and "is not what `harkara audit heads` printed" in result.output


@pytest.mark.parametrize(("unlinked", "code"), [(4, 0), (3, 0), (2, 1)])
def test_a_record_that_was_put_in_outside_of_the_chains_is_counted(
    far: Far,  # noqa: F811
    tmp_path: Path,
    unlinked: int,
    code: int,
) -> None:
    shown(far)
    (tmp_path / "heads.json").write_text(json.dumps([{"unlinked": unlinked}]))
    result = far.run("audit", "verify", "--kept", str(tmp_path / "heads.json"))
    assert result.exit_code == code
    assert ("1 records in no chain were put in" in result.output) == (code == 1)
