"""What the run routes answer: shapes in camelCase, and how a resolution is told in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from harkara.ingestion.acceptance import Resolved
from harkara.ingestion.core import later
from harkara.ingestion.portfolios import Forecast
from harkara.ingestion.resolution import RowVerdict


class Reply(BaseModel):
    """An answer, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class PortfolioReply(Reply):
    """What the messaging limit of one portfolio means to the run: unique people outside service windows in any 24
    hours, over all its numbers. `state` limited, unlimited, or unknown: nothing is known of the ledger (quality-monitor
    keeps it), and until it is, nobody outside a window is written to.

    `people` of the run want a place, of whom so many are known to count already (`counted`). As of `asOf` so many
    counted at all (`used`), and lanes had the right to so many more (`granted`). `held` wait for a place, of whom
    `expire` have none within their message's life; the first place comes free for them at `freeAt`, and the last one
    who goes has one at `lastAt`. That is if nobody else of the run counts, and nobody who counted was written to again
    since. Who they are is not published; so it is at least `heldAtLeast` and `expireAtLeast`, which is certain, and at
    most `heldAtMost` and `expireAtMost`. Where nobody counts they are the same. What else is accepted in the meantime
    is in none of them."""

    portfolio_id: str
    state: Literal["limited", "unlimited", "unknown"]
    limit: int | None
    as_of: datetime | None
    used: int | None
    granted: int | None
    people: int
    counted: int
    held: int | None
    held_at_least: int | None
    held_at_most: int | None
    expire: int | None
    expire_at_least: int | None
    expire_at_most: int | None
    free_at: datetime | None
    last_at: datetime | None


class RunReply(Reply):
    """`repeated`: the same request had been accepted before; nothing was written again. `verdicts` is what is expected
    of the policy, by verdict and reason, and `portfolios` of the messaging limits; both are empty where that was not
    known up to now, the latter also in a repeated answer."""

    run_id: str
    accepted: int
    left_out: int
    homes: dict[str, int]
    audience_hash: str
    verdict_hash: str | None
    verdicts: dict[str, int]
    portfolios: list[PortfolioReply]
    estimated_completion: datetime | None
    dry_run: bool
    repeated: bool


class RowReply(Reply):
    """One recipient, by row and pseudonym: what would become of them, by which number, in which form, when (`due`),
    and why not or not yet. `fallback`: in which form the fallback content would go, or why it would not.
    `decided_in_lane`: for what (a frequency cap, content said already) the lane may yet end it, which no preview can
    know: it counts what the person was sent before when the message's turn comes."""

    row: int
    person_key: str
    outcome: str
    code: str
    number: str | None
    form: str | None
    due: datetime | None
    reason: str | None
    rule: str | None
    fallback: str | None
    decided_in_lane: list[str] | None = None


class Warned(Reply):
    """Something to look at before the run is sent; `blocking`: it will not keep what it promises."""

    code: str
    blocking: bool
    text: str


class PreviewReply(Reply):
    """What sending this now would lead to. `verdicts` by verdict and reason, `outcomes` by verdict alone, `numbers` by
    the number that each would go by, `fallbacks` by what would become of a fallback content; `rows` the first ones.
    `portfolios`: whom their messaging limits would keep waiting besides; which ones, their lanes decide, so `outcomes`
    and the hashes know nothing of it. `estimatedCompletion` counts the waiting that is certain; null where nobody knows
    how fast the numbers of a home go."""

    audience_hash: str
    verdict_hash: str
    policy_version: str
    at: datetime
    recipients: int
    left_out: int
    homes: dict[str, int]
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    numbers: dict[str, int]
    fallbacks: dict[str, int]
    portfolios: list[PortfolioReply]
    estimated_completion: datetime | None
    rows: list[RowReply]


class PrecheckReply(PreviewReply):
    """The same, with everybody who would not go at once in `rows` (the first 1,000 of each outcome). `ready`: nothing
    that blocks was found."""

    ready: bool
    warnings: list[Warned]


class CommandReply(Reply):
    """One command per home was written; what comes of it is seen on the messages and in the audit log."""

    run_id: str
    command_ids: list[str]


def row_reply(found: RowVerdict) -> RowReply:
    """A row's verdict in its form for clients."""
    verdict = found.verdict
    return RowReply(
        row=found.row,
        person_key=found.person_key,
        outcome=verdict.outcome,
        code=verdict.code,
        number=verdict.number,
        form=verdict.form,
        due=verdict.due,
        reason=None if verdict.reason is None else verdict.reason.text,
        rule=None if verdict.reason is None else verdict.reason.rule,
        fallback=verdict.fallback or None,
        decided_in_lane=list(verdict.decided_in_lane) or None,
    )


def warnings_of(resolved: Resolved, deadline: datetime | None, completion: datetime | None) -> Iterator[Warned]:
    """What there is to look at. `completion`: the estimate; None where the pace is not known, and then only what is
    certain without it, the last slot and the portfolios' limits, is held against the deadline."""
    outcomes, expected = resolved.resolution.outcomes, resolved.survey.expected
    refused, held = outcomes.get("refused", 0), outcomes.get("held", 0)
    if refused == expected:
        yield Warned(code="nobody_goes", blocking=True, text="Every recipient would be refused.")
    elif refused:
        yield Warned(code="some_refused", blocking=False, text=f"{refused} of {expected} would be refused.")
    without = sum(count for what, count in resolved.resolution.fallbacks.items() if what.startswith("refused"))
    if without:
        text = f"{without} of {expected} would go without their fallback content: see `fallbacks` for why."
        yield Warned(code="some_without_fallback", blocking=False, text=text)
    if held:
        yield Warned(code="some_held", blocking=False, text=f"{held} of {expected} would wait: see `rows` for why.")
    latest = completion
    certain = later(resolved.timing.last(), certain_end(resolved.resolution.portfolios))
    end = certain if completion is None else completion
    for each in resolved.resolution.portfolios:
        yield from _portfolio_warnings(each)
        latest = later(latest, instant(each.told.over))
    if completion is None:
        text = "Not every sender has an open number whose lane tells how its queue stands; no estimate."
        yield Warned(code="pace_unknown", blocking=False, text=text)
    if deadline is not None and end is not None and end > deadline:
        late = round((end - deadline).total_seconds())
        by = "At the numbers' pace and by" if completion is not None else "By its slot and"
        text = f"{by} their portfolios' limits the last message goes {late} s after the deadline."
        yield Warned(code="deadline_missed", blocking=True, text=text)
    elif completion is not None and deadline is not None and latest is not None and latest > deadline:
        text = "By their portfolios' limits the last messages may go after the deadline: see `portfolios`."
        yield Warned(code="deadline_at_risk", blocking=False, text=text)


def _portfolio_warnings(found: Forecast) -> Iterator[Warned]:
    named, people = f"portfolio {found.portfolio_id}", found.people
    if found.state == "unknown":
        text = f"Nothing is known of the messaging limit of {named}; until it is, {people} people wait for it."
        yield Warned(code="portfolio_unknown", blocking=False, text=text)
    if found.told.held:
        count = _told(found.least.held, found.told.held, found.most.held, people)
        free = None if found.told.free_at is None else instant(found.told.free_at)
        first = "" if free is None else f"; the first comes free at {free:%Y-%m-%dT%H:%M:%SZ}"
        text = f"{count} would wait for a place under the messaging limit of {named}{first}."
        yield Warned(code="portfolio_limit", blocking=False, text=text)
    if found.told.expired:
        count = _told(found.least.expired, found.told.expired, found.most.expired, people)
        text = f"{count} would expire before {named} has a place for them."
        yield Warned(code="portfolio_expires", blocking=found.least.expired > 0, text=text)


def _told(least: int, told: int, most: int, people: int) -> str:
    if least == most:
        return f"{told} of {people}"
    return f"{told} of {people} (at least {least}, at most {most}, by who of them counts already)"


def portfolio_reply(found: Forecast) -> PortfolioReply:
    """A forecast in its form for clients."""
    lease, limited = found.lease, found.state == "limited"
    return PortfolioReply(
        portfolio_id=found.portfolio_id,
        state=found.state,
        limit=lease.limit if lease is not None and limited else None,
        as_of=None if lease is None else lease.at,
        used=None if lease is None else lease.used,
        granted=None if lease is None else lease.outstanding,
        people=found.people,
        counted=found.counted,
        held=None if found.state == "unknown" else found.told.held,
        held_at_least=None if found.state == "unknown" else found.least.held,
        held_at_most=None if found.state == "unknown" else found.most.held,
        expire=None if found.state == "unknown" else found.told.expired,
        expire_at_least=None if found.state == "unknown" else found.least.expired,
        expire_at_most=None if found.state == "unknown" else found.most.expired,
        free_at=instant(found.told.free_at),
        last_at=instant(found.told.last_at),
    )


def certain_end(portfolios: Iterable[Forecast]) -> datetime | None:
    """When, because of the portfolios' limits, the last of a run goes or ends at the earliest; None: nobody waits for
    them for certain."""
    return max((at for each in portfolios if (at := instant(each.least.over)) is not None), default=None)


def instant(at: float | None) -> datetime | None:
    """Of Unix seconds."""
    return None if at is None else datetime.fromtimestamp(at, UTC)
