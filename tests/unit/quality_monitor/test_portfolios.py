"""The owner of the portfolios' ledgers: when a lease is written, and what it tells the ledgers of limits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from harkara.contracts.numbers import NumberEvent
from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent
from harkara.policy.governance import Governance, load
from harkara.policy.portfolio import begun_with
from harkara.quality_monitor import portfolios
from harkara.quality_monitor.core import Facts, observe
from harkara.quality_monitor.portfolios import LEASE_EVERY_RECORDS, Books, LimitTeller, MetaWords
from harkara.runtime.clock import ManualClock
from harkara.runtime.settings import ServiceSettings

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
PORTFOLIO, OTHER = "300000000000001", "300000000000002"
EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"


def event(kind: str, **more: Any) -> PortfolioEvent:
    return PortfolioEvent.model_validate({"portfolio_id": PORTFOLIO, "kind": kind, "at": AT} | more)


def governance() -> Governance:
    known = load(EXAMPLE).model_dump(mode="json")
    known["numbers"][0]["portfolio_id"] = OTHER
    limits = [{"id": PORTFOLIO, "limit": 250}, {"id": OTHER, "limit": "unlimited"}]
    return Governance.model_validate(known | {"portfolios": limits})


def test_a_lease_is_written_at_first_sight_for_an_answer_and_now_and_then() -> None:
    books, now = Books(), AT.timestamp()
    books.take(event("spent", home="pool-a", sequence=1, persons=["p"]), 0, now)
    assert [lease.version for lease in books.due([PORTFOLIO, PORTFOLIO])] == [0]
    books.take(event("spent", home="pool-a", sequence=2, persons=["q"]), 1, now)
    assert books.due([PORTFOLIO]) == [], "nobody waits for it"
    books.take(event("wanted", home="pool-a", sequence=2, wanted=1), 2, now)
    assert [lease.version for lease in books.due([PORTFOLIO])] == [2]
    for offset in range(3, LEASE_EVERY_RECORDS + 2):
        books.take(event("spent", home="pool-a", sequence=2, again=["q"]), offset, now)
        assert books.due([PORTFOLIO]) == []
    books.take(event("spent", home="pool-a", sequence=2, again=["q"]), LEASE_EVERY_RECORDS + 2, now)
    assert len(books.due([PORTFOLIO])) == 1


def test_a_new_owner_goes_on_from_the_lease_and_the_records_before_it() -> None:
    now = AT.timestamp()
    log = [
        event("limit", limit=3, source="policy"),
        event("wanted", home="pool-a", wanted=2),
        event("spent", home="pool-a", sequence=2, persons=["p", "q"]),
        event("wanted", home="pool-b", wanted=5, persons=["p"]),
        event("spent", home="pool-b", sequence=1, persons=["r"]),
        event("wanted", home="pool-b", sequence=1, wanted=5),
    ]
    first = Books()
    for offset, each in enumerate(log[:4]):
        first.take(each, offset, now)
    (lease,) = first.due([PORTFOLIO])
    second = Books([begun_with(lease)])
    for offset, each in enumerate(log):
        if offset > 3:
            first.take(each, offset, now)
        second.take(each, offset, now)
    assert first.due([PORTFOLIO]) == second.due([PORTFOLIO])
    window = second.ledgers[PORTFOLIO].window
    assert (len(window), [each for each in "opqrs" if window.until(each) is not None]) == (3, ["p", "q", "r"])


def test_limits_are_told_once_and_again_when_meta_says_another() -> None:
    words: MetaWords = {}
    settings = ServiceSettings(service="quality-monitor")
    teller = LimitTeller(settings, governance(), ManualClock(AT), lambda: words)
    assert [(word[0], word[1], word[2]) for word in teller._news()] == [
        (PORTFOLIO, "policy", 250),
        (OTHER, "policy", UNLIMITED),
    ]
    assert teller._news() == []
    words[PORTFOLIO] = (2000, AT)
    words["300000000000009"] = (250, AT)
    assert [(word[0], word[1], word[2]) for word in teller._news()] == [(PORTFOLIO, "meta", 2000)]
    words[PORTFOLIO] = (2000, AT + timedelta(hours=1))
    assert teller._news() == [], "the same again is no news"


@pytest.mark.req("B7", "OPS-8")
def test_a_changed_policys_limit_is_told_while_running() -> None:
    settings = ServiceSettings(service="quality-monitor")
    teller = LimitTeller(settings, governance(), ManualClock(AT), dict)
    teller._news()
    lower = governance().model_dump(mode="json") | {
        "portfolios": [{"id": PORTFOLIO, "limit": 100}, {"id": OTHER, "limit": "unlimited"}]
    }
    teller.follow(Governance.model_validate(lower))
    assert [(word[0], word[1], word[2]) for word in teller._news()] == [(PORTFOLIO, "policy", 100)]


def test_the_newest_limit_that_was_reported_of_a_number_is_kept() -> None:
    def said(limit: int | None, seconds: float) -> NumberEvent:
        fields = {"phone_number_id": "100000000000001", "home": "pool-a", "kind": "other", "source": "webhook"}
        return NumberEvent.model_validate(fields | {"at": AT + timedelta(seconds=seconds), "messaging_limit": limit})

    facts = Facts()
    for each in (said(2000, 5), said(250, 1), said(None, 9)):
        facts = observe(facts, each)
    assert (facts.messaging_limit, facts.messaging_limit_at) == (2000, AT + timedelta(seconds=5))


@dataclass
class Log:
    """A partition of `ends` records as a consumer has it: some at a time, each time after a while."""

    ends: int
    stuck_at: int = 10**9
    at: int = 0
    most: list[int] = field(default_factory=list)

    def assign(self, _: list[TopicPartition]) -> None:
        """Taken."""

    def seek(self, _: TopicPartition, offset: int) -> None:
        """From there on."""
        self.at = offset

    async def position(self, _: TopicPartition) -> int:
        """The next record."""
        return self.at

    async def getmany(self, source: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        """The next few, after a fiftieth of what is waited for."""
        await asyncio.sleep(0.02)
        first, self.at = self.at, min(self.at + min(3, max_records), self.ends, self.stuck_at)
        self.most.append(self.at)
        return {source: [Record(offset) for offset in range(first, self.at)]}


@dataclass
class Record:
    """One of them."""

    offset: int


async def test_a_long_day_is_read_bit_by_bit_and_only_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolios, "READ_SECONDS", 0.1)
    source = TopicPartition("portfolio-events", 0)
    log = Log(40)
    read = portfolios._read(cast(Any, log), source, 4, 38)
    assert (await anext(read)).offset == 4
    assert log.most == [7], "no more is held than was fetched"
    assert [record.offset async for record in read] == list(range(5, 38)), "twice as long as it may be silent"
    stuck = portfolios._read(cast(Any, Log(40, stuck_at=10)), source, 4, 38)
    with pytest.raises(TimeoutError, match="portfolio-events-0 stays at 10, 38 is wanted"):
        assert [record.offset async for record in stuck] == []
