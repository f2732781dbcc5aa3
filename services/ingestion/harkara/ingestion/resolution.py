"""Who is in a run's audience, and what would become of each (B15): one answer for preview, precheck and send.

An audience is its rows in their order; its hash is of what they say, not of the ids that they will have, so a preview,
a dry run and the run itself have the same. The verdicts have a hash of their own: they change with consent, windows,
hours and the numbers' state, the audience does not.
"""

from __future__ import annotations

import hashlib
import hmac
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from harkara.contracts.intents import SendIntent, person_keys
from harkara.ingestion.portfolios import Forecast, Ledgers, Wanted
from harkara.policy.clearance import purpose_of
from harkara.policy.governance import Governance
from harkara.policy.known import Known
from harkara.policy.resolve import Verdict, resolve
from harkara.policy.standings import Standings

MOST_ROWS_KEPT = 1_000  # of each outcome, in full: what a person looks through, 300 KB of an answer
MOST_REMEMBERED = 32  # resolutions, for telling what has changed since; each has 14 bytes a row, at most 1.4 MB
MOST_CHANGES_TOLD = 1_000
_NOT_CONTENT = {"message_id", "run_id", "producer", "dry_run", "not_before"}


def content_hash(intent: SendIntent) -> bytes:
    """8 bytes of what a row says: to whom, by whom, what; whatever its id, its slot, and whether it is a rehearsal."""
    said = intent.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_CONTENT)
    return hashlib.blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=8).digest()


def keyed(pepper: bytes, digest: str) -> str:
    """32 hexadecimal characters in a digest's place. The hashes of a run are kept for years: of a bare one whoever
    knows a small run's content could try phone numbers until it fits."""
    return hmac.digest(pepper, f"run\x1f{digest}".encode(), "sha256")[:16].hex()


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """One recipient and what would become of them."""

    row: int
    person_key: str
    verdict: Verdict


@dataclass(slots=True)
class Resolution:
    """What would become of an audience at `at`, under `policy_version`. `labels` counts the rows by verdict and reason
    (`refused:opted_out`), `numbers` those that would go by each number, `fallbacks` those with a fallback content by
    the form in which it would go, or why it would not; `shown` keeps the first ones of each outcome. `portfolios`: what
    their messaging limits mean to it, which is no part of a verdict: whom they keep waiting is decided in the lane.
    """

    at: datetime
    policy_version: str
    audience_hash: str = ""
    verdict_hash: str = ""
    labels: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[RowVerdict]] = field(default_factory=dict)
    portfolios: tuple[Forecast, ...] = ()
    _names: dict[str, int] = field(default_factory=dict)
    _rows: array[int] = field(default_factory=lambda: array("I"))
    _contents: bytearray = field(default_factory=bytearray)
    _marks: array[int] = field(default_factory=lambda: array("H"))
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, content: bytes, found: RowVerdict) -> None:
        """Count one row."""
        verdict = found.verdict
        self.labels[verdict.label] += 1
        if verdict.number is not None:
            self.numbers[verdict.number] += 1
        if verdict.fallback:
            self.fallbacks[verdict.fallback] += 1
        shown = self.shown.setdefault(verdict.outcome, [])
        if len(shown) < MOST_ROWS_KEPT:
            shown.append(found)
        mark = f"{verdict.label}\x1f{verdict.form or ''}\x1f{verdict.number or ''}"
        self._rows.append(found.row)
        self._contents += content
        self._marks.append(self._names.setdefault(mark, len(self._names)))
        self._digest.update(b"%d\x1f%s\x1f%s\x1e" % (found.row, content, mark.encode()))

    def end(self, audience_hash: str, pepper: bytes) -> Resolution:
        """Every row was taken."""
        self._digest.update(audience_hash.encode())
        self.audience_hash, self.verdict_hash = audience_hash, keyed(pepper, self._digest.hexdigest())
        return self

    @property
    def outcomes(self) -> dict[str, int]:
        """The rows by outcome alone."""
        found: Counter[str] = Counter()
        for label, count in self.labels.items():
            found[label.partition(":")[0]] += count
        return dict(sorted(found.items()))

    def rows(self) -> Iterator[tuple[int, tuple[bytes, str]]]:
        """Each row's number, content and verdict, in their order."""
        names = list(self._names)
        for place, (row, mark) in enumerate(zip(self._rows, self._marks, strict=True)):
            yield row, (bytes(self._contents[8 * place : 8 * place + 8]), names[mark])


@dataclass(frozen=True, slots=True)
class Difference:
    """What is another since an earlier resolution: rows that say something else, that came or went, and verdicts.
    `changes`: the first verdicts, as (row, was, is)."""

    content: int
    added: int
    removed: int
    verdicts: int
    changes: list[tuple[int, str, str]]


def difference(before: Resolution, now: Resolution) -> Difference:
    """Row by row."""
    old, new = dict(before.rows()), dict(now.rows())
    common = sorted(old.keys() & new.keys())
    changed = [(row, _told(old[row][1]), _told(new[row][1])) for row in common if old[row][1] != new[row][1]]
    return Difference(
        content=sum(old[row][0] != new[row][0] for row in common),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        verdicts=len(changed),
        changes=changed[:MOST_CHANGES_TOLD],
    )


def _told(mark: str) -> str:
    label, form, number = mark.split("\x1f")
    return label if not number else f"{label} by {number}" if label == form else f"{label} by {number} as {form}"


class Remembered:
    """The newest resolutions of this process by their hashes, so that a change since can be told row by row."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Resolution] = OrderedDict()

    def keep(self, found: Resolution) -> None:
        """Remember one, without the rows in full."""
        self._kept[found.verdict_hash] = replace(found, shown={})
        self._kept.move_to_end(found.verdict_hash)
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)

    def find(self, verdict_hash: str | None, audience_hash: str | None) -> Resolution | None:
        """The one with this verdict hash, else the newest of this audience; None where this process has not made it,
        or not lately."""
        if verdict_hash is not None and verdict_hash in self._kept:
            return self._kept[verdict_hash]
        return next((each for each in reversed(self._kept.values()) if each.audience_hash == audience_hash), None)


class Resolver:
    """Asks the policy about one row after the other. `fresh()`: everyone's consent, the windows and the numbers are
    known as of at most 2 s ago; without that nothing is said."""

    def __init__(
        self,
        governance: Governance,
        pepper: bytes,
        standings: Standings,
        known: Known,
        fresh: Callable[[], bool],
        ledgers: Ledgers | None = None,
    ) -> None:
        self._governance = governance
        self._pepper = pepper
        self._standings = standings
        self._known = known
        self._ledgers = Ledgers() if ledgers is None else ledgers
        self.fresh = fresh

    def follow(self, governance: Governance) -> None:
        """Resolve by this policy from the next audience on."""
        self._governance = governance

    def begin(self, now: datetime) -> Resolution:
        """An empty resolution as of now."""
        return Resolution(now, self._governance.version)

    def wanted(self, now: datetime) -> Wanted:
        """An empty count of the portfolios' places that an audience wants."""
        return Wanted(self._governance, self._ledgers, now)

    def end(self, found: Resolution, audience_hash: str, wanted: Wanted) -> None:
        """Every row was taken, and its place counted."""
        found.portfolios = wanted.forecasts()
        found.end(audience_hash, self._pepper)

    def keyed(self, digest: str) -> str:
        """As `keyed`."""
        return keyed(self._pepper, digest)

    def of(self, intent: SendIntent, row: int, home: str, now: datetime) -> RowVerdict:
        """What would become of one row."""
        person, also = person_keys(self._pepper, intent)
        word = self._standings.word(person, purpose_of(intent), also)
        names = self._standings.names(person, also) if self._governance.do_not_message else ()
        numbers = (number.phone_number_id for number in self._governance.numbers_of(home))
        around = self._known.around(person, numbers)
        return RowVerdict(row, person, resolve(intent, person, word, around, self._governance, now, names))
