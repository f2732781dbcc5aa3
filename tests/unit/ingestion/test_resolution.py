"""How much is remembered of what was previewed."""

from __future__ import annotations

from harkara.ingestion.resolution import MOST_REMEMBERED, Remembered, Resolution, RowVerdict, difference
from harkara.policy.resolve import Verdict
from tests.unit.ingestion.conftest import NOW


def resolved(refused: int, audience: str = "a" * 32) -> Resolution:
    """100 rows, of which so many are refused."""
    found = Resolution(NOW, "v1")
    for row in range(1, 101):
        goes = Verdict("template", number="n", form="template")
        verdict = Verdict("refused", "opted_out") if row <= refused else goes
        found.take(b"%08d" % row, RowVerdict(row, "p", verdict))
    return found.end(audience)


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
