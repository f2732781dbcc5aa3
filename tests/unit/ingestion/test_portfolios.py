"""What preview, precheck and the estimate know of a portfolio's messaging limit (B7, ING-17)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.identity import person_key
from harkara.contracts.intents import DEFAULT_LIFE
from harkara.contracts.numbers import NumberState
from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent, PortfolioLease
from harkara.contracts.topics import NUMBER_STATE, QUEUE_STATE
from harkara.ingestion.portfolios import MOST_KNOWN, STEP_SECONDS, Forecast, Group, Ledgers, forecast
from harkara.policy.governance import Governance, Portfolio
from harkara.policy.portfolio import COUNTS_SECONDS, FREE_PASS_SECONDS, Ledger, evolve, lease_of
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER, Running
from tests.unit.ingestion.test_runs import PATH, SAME, halt, opt_out, phone, run, three, write_in
from tests.unit.ingestion.test_standing import queue

PORTFOLIO = "998877665544332"
AT = NOW.timestamp()
DAY = timedelta(seconds=COUNTS_SECONDS)


def lease(limit: int | None = 250, version: int = 1, **more: Any) -> PortfolioLease:
    said = {"portfolio_id": PORTFOLIO, "version": version, "at": NOW - timedelta(hours=1), "limit": limit}
    return PortfolioLease.model_validate(said | more)


@pytest.fixture
def limited(running: Running, governance: Governance) -> Running:
    """The API with a portfolio whose limit is kept."""
    portfolio = Portfolio(id=PORTFOLIO, limit=250)
    running.facts.resolver.follow(governance.model_copy(update={"portfolios": (portfolio,)}))
    return running


def zulu(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@pytest.mark.req("B7", "ING-17")
async def test_of_a_run_of_1000_at_tier_250_it_is_known_who_waits_and_who_never_goes(limited: Running) -> None:
    limited.facts.ledgers.apply(lease())
    limited.known.apply(QUEUE_STATE, LONE, queue())
    preview, precheck, sent = await three(limited, run(1000))
    (told,) = preview["portfolios"]
    assert precheck["portfolios"] == sent["portfolios"] == [told]
    assert told == {
        "portfolioId": PORTFOLIO, "state": "limited", "limit": 250, "asOf": zulu(NOW - timedelta(hours=1)),
        "used": 0, "granted": 0, "people": 1000, "counted": 0, "held": 750, "heldAtLeast": 750, "heldAtMost": 750,
        "expire": 500, "expireAtLeast": 500, "expireAtMost": 500,
        "freeAt": zulu(NOW + DAY), "lastAt": zulu(NOW + DAY),
    }  # fmt: skip
    assert preview["verdicts"] == {"template": 1000}, "which ones wait, the lane decides"
    assert not precheck["ready"]
    warnings = {each["code"]: each for each in precheck["warnings"]}
    assert warnings["portfolio_limit"]["text"] == (
        f"750 of 1000 would wait for a place under the messaging limit of portfolio {PORTFOLIO}; "
        "the first comes free at 2026-11-22T00:31:10Z."
    )
    assert (warnings["portfolio_expires"]["blocking"], warnings["portfolio_limit"]["blocking"]) == (True, False)
    assert warnings["portfolio_expires"]["text"].startswith("500 of 1000 would expire before portfolio")
    for each in (preview, precheck, sent):
        assert each["estimatedCompletion"] == zulu(NOW + DEFAULT_LIFE), "then the last of them has ended"


@pytest.mark.req("B7", "ING-17")
async def test_who_fits_does_not_wait_and_who_waits_in_time_only_warns(limited: Running) -> None:
    limited.facts.ledgers.apply(lease())
    limited.known.apply(QUEUE_STATE, LONE, queue())
    fits = (await limited.post(f"{PATH}/precheck", run(250))).json()
    assert (fits["portfolios"][0]["heldAtMost"], fits["ready"]) == (0, True)
    assert "portfolio_limit" not in {each["code"] for each in fits["warnings"]}
    one_more = (await limited.post(f"{PATH}/precheck", run(251))).json()
    assert (one_more["portfolios"][0]["heldAtLeast"], one_more["portfolios"][0]["expireAtMost"]) == (1, 0)
    assert one_more["ready"] and one_more["estimatedCompletion"] == zulu(NOW + DAY)
    late = (await limited.post(f"{PATH}/precheck", run(251, deadline=zulu(NOW + timedelta(hours=20))))).json()
    assert [each["code"] for each in late["warnings"] if each["blocking"]] == ["deadline_missed"]


@pytest.mark.req("B7", "ING-17")
async def test_only_who_is_written_to_outside_a_window_needs_a_place(limited: Running) -> None:
    limited.facts.ledgers.apply(lease(2))
    opt_out(limited, 1)
    write_in(limited, 2)
    audience: list[dict[str, Any]] = [{"to": phone(n)} for n in range(1, 6)]
    audience[1] |= {"message": "hi", "category": "service"}
    (told,) = (await limited.post(f"{PATH}/preview", run(audience=audience))).json()["portfolios"]
    assert (told["people"], told["heldAtLeast"], told["heldAtMost"]) == (3, 1, 1)
    halt(limited, LONE)
    (told,) = (await limited.post(f"{PATH}/preview", run(audience=audience[2:]))).json()["portfolios"]
    assert told["people"] == 3, "who waits for a number goes by it later"


@pytest.mark.req("B7", "ING-17")
async def test_without_a_word_of_the_ledger_that_is_said_and_nothing_is_refused(limited: Running) -> None:
    for unknown in (None, lease(None)):
        limited.facts.ledgers.apply(unknown)
        preview, precheck, sent = await three(limited, run(1000), key=f"morning-{unknown is None}")
        (told,) = preview["portfolios"]
        assert (told["state"], told["people"], told["limit"], told["heldAtLeast"], told["heldAtMost"]) == (
            "unknown", 1000, None, None, None,
        )  # fmt: skip
        (warned,) = [each for each in precheck["warnings"] if each["code"] == "portfolio_unknown"]
        assert not warned["blocking"] and "1000 people wait for it" in warned["text"]
        assert (precheck["ready"], sent["accepted"]) == (True, 1000)


@pytest.mark.req("B7", "ING-17")
async def test_of_no_limit_and_of_a_portfolio_that_is_not_kept_nobody_waits(
    limited: Running, governance: Governance
) -> None:
    limited.facts.ledgers.apply(lease(UNLIMITED, used=5000))
    (told,) = (await limited.post(f"{PATH}/preview", run(1000))).json()["portfolios"]
    assert (told["state"], told["limit"], told["people"], told["heldAtMost"]) == ("unlimited", None, 1000, 0)
    limited.facts.ledgers.apply(lease(1, version=2))
    limited.facts.resolver.follow(governance)
    assert (await limited.post(f"{PATH}/preview", run(1000))).json()["portfolios"] == []


@pytest.mark.req("B7", "B15")
async def test_the_hashes_do_not_hang_on_what_the_ledger_says(limited: Running) -> None:
    before = (await limited.post(f"{PATH}/preview", run(10))).json()
    limited.facts.ledgers.apply(lease(5))
    after = (await limited.post(f"{PATH}/preview", run(10))).json()
    assert before["portfolios"] != after["portfolios"]
    for name in SAME:
        assert before[name] == after[name], name


@pytest.mark.req("B7", "ING-17")
async def test_where_people_count_already_both_ends_are_told_and_only_what_is_certain_blocks(limited: Running) -> None:
    limited.facts.ledgers.apply(lease(250, used=200, outstanding=20, at=NOW - timedelta(hours=2)))
    deadline = zulu(NOW + timedelta(hours=20))
    precheck = (await limited.post(f"{PATH}/precheck", run(240, deadline=deadline))).json()
    (told,) = precheck["portfolios"]
    assert [told[each] for each in ("heldAtLeast", "held", "heldAtMost")] == [0, 210, 210]
    assert [told[each] for each in ("expireAtLeast", "expire", "expireAtMost")] == [0, 0, 0]
    assert told["freeAt"] == zulu(NOW - timedelta(hours=2) + DAY), (
        "who counted at the lease's time counts a day at most"
    )
    assert precheck["ready"]
    codes = [each["code"] for each in precheck["warnings"]]
    assert "portfolio_limit" in codes and "deadline_at_risk" not in codes, "its own end is not known: no estimate"
    limited.known.apply(QUEUE_STATE, LONE, queue())
    running_now = (await limited.post(f"{PATH}/precheck", run(240, deadline=deadline, startAt=zulu(NOW)))).json()
    assert "deadline_at_risk" in [each["code"] for each in running_now["warnings"]]
    assert running_now["ready"]


@pytest.mark.req("B7", "ING-17")
async def test_a_run_of_tomorrow_finds_yesterdays_places_free(limited: Running) -> None:
    limited.facts.ledgers.apply(lease(250, used=250, at=NOW - timedelta(hours=23)))
    (now,) = (await limited.post(f"{PATH}/preview", run(250))).json()["portfolios"]
    assert (now["heldAtMost"], now["freeAt"]) == (250, zulu(NOW - timedelta(hours=23) + DAY))
    (later,) = (
        await limited.post(f"{PATH}/preview", run(250, startAt=zulu(NOW + timedelta(hours=2)), spreadMinutes=30))
    ).json()["portfolios"]
    assert (later["held"], later["freeAt"], later["lastAt"]) == (0, None, None)
    assert later["heldAtMost"] == 250, "if all of them were written to again in the meantime"


@pytest.mark.req("B7", "ING-17")
async def test_who_would_expire_as_far_as_is_told_does_not_block_unless_it_is_certain(limited: Running) -> None:
    limited.facts.ledgers.apply(lease(250, used=250))
    precheck = (await limited.post(f"{PATH}/precheck", run(250, expiresAt=zulu(NOW + timedelta(hours=2))))).json()
    (told,) = precheck["portfolios"]
    assert [told[each] for each in ("expireAtLeast", "expire", "expireAtMost")] == [0, 250, 250]
    (warned,) = [each for each in precheck["warnings"] if each["code"] == "portfolio_expires"]
    assert warned["text"].startswith("250 of 250 (at least 0, at most 250, by who of them counts already) would expire")
    assert not warned["blocking"] and precheck["ready"]


@pytest.mark.req("B7", "ING-17")
async def test_a_run_is_asked_about_for_its_slot_whatever_else_holds_it(limited: Running) -> None:
    limited.facts.ledgers.apply(lease(250, used=250))
    halt(limited, LONE)
    (told,) = (await limited.post(f"{PATH}/preview", run(250, startAt=zulu(NOW + DAY)))).json()["portfolios"]
    assert (told["people"], told["held"]) == (250, 0)
    pause = {"phone_number_id": LONE, "home": LONE, "version": 2, "verdict": "paused", "until": NOW + 2 * DAY}
    limited.facts.around.apply(NUMBER_STATE, LONE, NumberState.model_validate(pause | {"updated_at": NOW}))
    preview = (await limited.post(f"{PATH}/preview", run(250))).json()
    assert (preview["verdicts"], preview["portfolios"]) == ({"held:number_paused": 250}, []), "it ends before"


@pytest.mark.req("B7", "ING-17")
async def test_whom_the_ledger_named_needs_no_place_as_long_as_it_said(limited: Running) -> None:
    people = {person_key(PEPPER, phone(n)): zulu(NOW + timedelta(hours=h)) for n, h in ((1, 12), (2, 0.5))}
    limited.facts.ledgers.apply(lease(250, used=250, known=people))
    (told,) = (await limited.post(f"{PATH}/preview", run(3))).json()["portfolios"]
    assert (told["people"], told["counted"], told["heldAtMost"]) == (3, 1, 2), "in the last hour a repeat takes a unit"


def test_of_leases_the_newest_counts_and_of_people_who_were_named_a_bounded_number() -> None:
    ledgers = Ledgers()
    ledgers.apply(lease(250, version=7, known={f"person-{n}": NOW for n in range(MOST_KNOWN)}))
    ledgers.apply(lease(1, version=6))
    assert ledgers.by_portfolio[PORTFOLIO].limit == 250
    ledgers.apply(lease(250, version=8, known={"another": NOW + DAY}))
    passes = ledgers.passes[PORTFOLIO]
    assert len(passes) == MOST_KNOWN and "person-0" not in passes
    assert passes["another"] == AT + FREE_PASS_SECONDS
    ledgers.apply(lease(250, version=9, known={"person-1": NOW, "a-third": NOW}))
    assert len(passes) == MOST_KNOWN and "person-1" in passes, "who was named again is not the oldest answer"
    assert "person-2" not in passes


def of(found: PortfolioLease, people: int, counted: int = 0, life: float = 6 * 86_400) -> Forecast:
    group: Group = (AT, AT + life)
    return forecast(PORTFOLIO, found, Counter({group: people}), Counter({group: counted}), AT)


@pytest.mark.req("B7")
@pytest.mark.parametrize(
    ("counted", "life", "held", "expired", "last"),
    [(0, 80_000, 8, 8, None), (0, 100_000, 8, 0, 86470), (0, 200_000, 8, 0, 86470), (3, 80_000, 8, 8, None)],
)
def test_at_most_all_who_count_were_written_to_again_just_now(
    counted: int, life: float, held: int, expired: int, last: float | None
) -> None:
    """Of a limit of 10 of which 8 are taken, whatever the ledger says of when they come free."""
    said = lease(10, used=6, outstanding=2, frees=((6, NOW + timedelta(hours=1)),))
    found = of(said, 10, counted, life).most
    assert (found.held, found.expired) == (held, expired)
    assert found.last_at == (None if last is None else AT + last)


@pytest.mark.req("B7")
@pytest.mark.parametrize(
    ("said", "people", "counted", "held", "first", "last"),
    [
        ({}, 10, 0, 0, None, None),
        ({"used": 4}, 10, 0, 4, 82870, 82870),
        ({"outstanding": 4}, 10, 0, 4, 86470, 86470),
        ({"used": 6, "outstanding": 2}, 10, 0, 8, 82870, 86470),
        ({"used": 4, "outstanding": 12}, 10, 0, 10, 86470, 86470),
        ({"used": 10, "frees": ((2, 60), (7, 120), (10, 180))}, 10, 0, 10, 60, 180),
        ({"used": 10, "frees": ((2, -60), (10, 180))}, 10, 0, 8, 180, 180),
        ({"used": 25, "frees": ((2, 60), (10, 120))}, 10, 0, 10, 60, 120),
        ({"used": 10, "frees": ((2, 60), (10, 180))}, 8, 3, 8, 180, 86470),
        ({"homes": {"other": {"granted": 3, "target": 9}}}, 10, 0, 6, 86470, 86470),
    ],
)
def test_so_many_wait_until_then_as_the_ledger_says(
    said: dict[str, Any], people: int, counted: int, held: int, first: float | None, last: float | None
) -> None:
    """Of a limit of 10, an hour after the lease (82,870 s: then whom it counted counts no more)."""
    frees = tuple((places, NOW + timedelta(seconds=at)) for places, at in said.get("frees", ()))
    found = of(lease(10, **(said | {"frees": frees})), people, counted).told
    assert found.held == held
    assert [None if at is None else at - AT for at in (found.free_at, found.last_at)] == [first, last]


def test_without_any_place_everybody_ends_and_no_time_is_told() -> None:
    found = of(lease(0), 3, life=3600.0)
    assert (found.most.held, found.most.expired, found.most.free_at, found.most.over) == (3, 3, None, AT + 3600.0)
    assert found.least == found.told == found.most


# --- the truth ---------------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """The ledger itself, and an audience that goes person by person as the lanes would let it: without a unit who
    counts, with one where a place is free, else when the next one is."""

    limit: int
    ledger: Ledger = field(default_factory=lambda: Ledger(PORTFOLIO))
    version: int = 0
    spent: int = 0

    def say(self, at: float, **more: Any) -> None:
        said = {"portfolio_id": PORTFOLIO, "at": datetime.fromtimestamp(at, UTC)} | more
        evolve(self.ledger, PortfolioEvent.model_validate(said), self.version, at)
        self.version += 1

    def spend(self, at: float, persons: list[str]) -> None:
        """A lane's report of people whom it wrote to."""
        for person in persons:
            counts = (until := self.ledger.window.until(person)) is not None and at < until - COUNTS_SECONDS + (
                FREE_PASS_SECONDS
            )
            if counts:
                self.say(at, kind="spent", home="h", sequence=self.spent, again=(person,))
            elif self.spent < self.ledger.accounts["h"].granted:
                self.spent += 1
                self.say(at, kind="spent", home="h", sequence=self.spent, persons=(person,))

    def going(self, audience: list[tuple[float, float, str]], now: float) -> list[tuple[float, float | None]]:
        """(from when, when it went) of each in their order. Units that are granted go to others now."""
        window = dict(self.people()) | {f"other-{n}": now for n in range(self.ledger.outstanding)}
        line, went = list[tuple[float, float, str]](), list[tuple[float, float | None]]()

        def serve(until: float) -> None:
            while line:
                start, end, person = line[0]
                at = max([start, *(each for _, each in went if each is not None and each > start)])
                while at <= until and sum(since + COUNTS_SECONDS > at for since in window.values()) >= self.limit:
                    at = min((s + COUNTS_SECONDS for s in window.values() if s + COUNTS_SECONDS > at), default=math.inf)
                if at > until:
                    return
                line.pop(0)
                went.append((start, at if at < end else None))
                if at < end:
                    window[person] = at

        for start, end, person in sorted(audience):
            serve(start)
            since = window.get(person)
            if since is not None and start < since + FREE_PASS_SECONDS:
                window[person] = start
                went.append((start, start))
            else:
                line.append((start, end, person))
        serve(10**12)
        return went + [(start, None) for start, _, _ in line]

    def people(self) -> Iterator[tuple[str, float]]:
        window = self.ledger.window
        for n in range(40):
            if (until := window.until(f"p{n}")) is not None:
                yield f"p{n}", until - COUNTS_SECONDS


PEOPLE = st.lists(st.integers(0, 39).map("p{}".format), max_size=12, unique=True)


@pytest.mark.req("B7", "ING-17")
@given(
    limit=st.integers(1, 15),
    history=st.lists(st.tuples(st.floats(1, 100_000), PEOPLE), max_size=5),
    wanted=st.integers(0, 20),
    since=st.lists(st.tuples(st.floats(1, 40_000), PEOPLE), max_size=2),
    audience=st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 60, 3600, 30_000]), st.integers(0, 39).map("p{}".format)),
        max_size=20, unique_by=lambda each: each[1],
    ),
    life=st.sampled_from([600, 50_000, 93_600, 300_000]),
)  # fmt: skip
def test_what_happens_lies_between_the_two_ends(
    limit: int,
    history: list[tuple[float, list[str]]],
    wanted: int,
    since: list[tuple[float, list[str]]],
    audience: list[tuple[int, str]],
    life: int,
) -> None:
    """Whatever the ledger has seen, and however old the lease that is known: how many wait and how many end is never
    outside of what was said."""
    at = round(AT / STEP_SECONDS) * STEP_SECONDS - sum(each for each, _ in (*history, *since))
    truth = Truth(limit)
    truth.say(at, kind="limit", limit=limit, source="policy")
    for seconds, persons in history:
        at += seconds
        truth.say(at, kind="wanted", home="h", sequence=truth.spent, wanted=len(persons), persons=tuple(persons))
        truth.spend(at, persons)
    truth.say(at, kind="wanted", home="h", sequence=truth.spent, wanted=wanted and truth.ledger.outstanding)
    known = lease_of(truth.ledger)
    for seconds, persons in since:
        at += seconds
        truth.spend(at, persons)
    truth.ledger.window.forget(at)
    rows = [(at + start, at + start + life, person) for start, person in audience]
    passes = {person: until.timestamp() - COUNTS_SECONDS + FREE_PASS_SECONDS for person, until in known.known.items()}
    groups: tuple[Counter[Group], Counter[Group]] = (Counter(), Counter())
    for start, end, person in rows:
        groups[passes.get(person, 0.0) > start][start, end] += 1
    found = forecast(PORTFOLIO, known, *groups, at)
    went = truth.going(rows, at)
    held = sum(when is None or when > start for start, when in went)
    expired = sum(when is None for _, when in went)
    assert found.least.held <= held <= found.most.held
    assert found.least.expired <= expired <= found.most.expired
