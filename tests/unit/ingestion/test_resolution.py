"""How much is remembered of what was previewed."""

from __future__ import annotations

import hashlib

import pytest

from harkara.contracts.runs import SendRun
from harkara.ingestion.acceptance import Request, _repeated
from harkara.ingestion.requests import RunRequest
from harkara.ingestion.resolution import MOST_REMEMBERED, Remembered, Resolution, RowVerdict, difference, keyed
from harkara.ingestion.runs import Survey
from harkara.policy.resolve import Verdict
from harkara.runtime.problems import Problem
from tests.unit.ingestion.conftest import NOW, PEPPER


def resolved(refused: int, audience: str = "a" * 32) -> Resolution:
    """100 rows, of which so many are refused."""
    found = Resolution(NOW, "v1")
    for row in range(1, 101):
        goes = Verdict("template", number="n", form="template")
        verdict = Verdict("refused", "opted_out") if row <= refused else goes
        found.take(b"%08d" % row, RowVerdict(row, "p", verdict))
    return found.end(audience, PEPPER)


def test_the_newest_are_remembered_and_no_more_whether_of_one_audience_or_of_many() -> None:
    remembered = Remembered()
    all_of_them = [resolved(refused) for refused in range(3 * MOST_REMEMBERED)]
    for each in all_of_them:
        remembered.keep(each)
    kept = [each for each in all_of_them if remembered.find(each.verdict_hash, None) is not None]
    assert kept == all_of_them[-MOST_REMEMBERED:]
    newest = remembered.find(None, "a" * 32)
    assert newest is not None
    assert newest.verdict_hash == all_of_them[-1].verdict_hash
    assert newest.shown == {}, "what is only for showing is not kept"
    assert remembered.find("no such", "no such") is None
    assert remembered.find(None, None) is None


def test_one_that_is_remembered_tells_the_difference() -> None:
    remembered, before = Remembered(), resolved(1)
    remembered.keep(before)
    found = remembered.find(before.verdict_hash, None)
    assert found is not None
    told = difference(found, resolved(2))
    assert (told.verdicts, told.content) == (1, 0)
    assert told.changes == [(2, "template by n", "refused:opted_out")]


@pytest.mark.req("CMP-12")
def test_from_the_hashes_that_stay_nobody_can_try_out_who_was_in_a_small_run() -> None:
    def verdict_hash(pepper: bytes) -> str:
        found = Resolution(NOW, "v1")
        found.take(b"12345678", RowVerdict(1, "p", Verdict("template", number="n", form="template")))
        return found.end("a" * 32, pepper).verdict_hash

    assert verdict_hash(PEPPER) == verdict_hash(PEPPER) != verdict_hash(b"another pepper of tests")
    bare = hashlib.sha256(b"one row")
    assert keyed(PEPPER, bare.hexdigest()) not in (
        keyed(b"another pepper of tests", bare.hexdigest()),
        bare.hexdigest(),
    )
    assert len(keyed(PEPPER, bare.hexdigest())) == 32


@pytest.mark.req("ING-20")
@pytest.mark.parametrize(("known_by", "repeated"), [("d" * 32, True), ("b" * 32, True), ("x" * 32, False)])
def test_a_run_that_was_accepted_by_its_bare_hash_is_known_again(known_by: str, repeated: bool) -> None:
    asked = RunRequest.model_validate({
        "name": "morning", "sessionId": "1", "message": "hi", "category": "service", "audience": [],
    })  # fmt: skip
    before = SendRun(
        run_id="r-1",
        name="morning",
        producer="shop",
        expected=1,
        homes={"1": 1},
        audience_hash=known_by,
        created_at=NOW,
    )
    request = Request("r-1", "r-2", "morning", "shop", asked, looks=list, persons_once=True)
    try:
        answer = _repeated(before, Survey(expected=1, digest="d" * 32, bare="b" * 32), request)
    except Problem as problem:
        assert (problem.code, repeated) == ("IDEMPOTENCY_CONFLICT", False)
    else:
        assert answer.repeated and repeated
