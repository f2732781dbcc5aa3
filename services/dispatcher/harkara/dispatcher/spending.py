"""What a lane decides about its portfolios' places: spend a unit, ask for some, give back, let go who waits.

Rules and state: `places.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from harkara.contracts.event import event_id
from harkara.contracts.portfolios import UNLIMITED, LeaseAccount, PortfolioEvent
from harkara.contracts.topics import PORTFOLIO_EVENTS
from harkara.dispatcher import journal
from harkara.dispatcher.journal import instant
from harkara.dispatcher.places import (
    BATCH_LASTS_SECONDS,
    FIRST_BATCH,
    HELD_FOR_A_PLACE,
    LARGEST_BATCH,
    Draft,
    Key,
    Units,
)
from harkara.dispatcher.plan import NumberFacts, Surroundings
from harkara.dispatcher.projection import Emission
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState, Message

IDLE_SECONDS = 6.0  # unspent for so long a unit goes back: longer than the delays between two sends of most profiles
LOOK_SECONDS = 0.02  # between two counts of what waits, for one home: a round
MOST_NAMED = 100  # people in an ask
LONGEST_SILENCE_SECONDS = 30.0  # between two asks while the ledger is silent: 1, 2, 4 ... seconds
LONGEST_WAIT_SECONDS = 15.0  # between two asks while all places are taken: each moves the ledger's time on
NAMES_SECONDS = 0.25  # between two asks that name people who have come into the line


def take_place(scribe: Scribe, around: Surroundings, message: Message, facts: NumberFacts) -> bool:
    """A place for the message that is about to be called, a unit if its person does not count yet; False: there is
    none, and more are asked for."""
    places, key = scribe.state.places, (facts.portfolio_id, message.home)
    draft = scribe.drafts.get(key)
    if draft is None:
        draft = scribe.drafts[key] = Draft()
    person = message.person_key
    if person in draft.persons:
        return True
    if places.counts(around.leases, facts.portfolio_id, person, scribe.now):
        draft.again[person] = None
        return True
    units = places.of(key)
    if units.in_hand(around.leases.account(key)) <= len(draft.persons):
        units.wants = True
        return False
    draft.persons[person] = None
    places.let.pop(message.message_id, None)
    return True


def write_drafts(scribe: Scribe) -> None:
    """What the round spends, into its transaction."""
    for key, draft in scribe.drafts.items():
        if draft.persons or draft.again:
            _spend(scribe, key, len(draft.persons), persons=[*draft.persons], again=[*draft.again])
    scribe.drafts.clear()


def _spend(scribe: Scribe, key: Key, units: int, **facts: object) -> None:
    given = {name: value for name, value in facts.items() if value}
    data = {"sequence": scribe.state.places.of(key).spent + units} | given
    scribe.write(journal.places_key(*key), "places", key[1], data)


def lease_changed(scribe: Scribe, around: Surroundings, name: str) -> None:
    """The ledger has said something of a home (`portfolio/home`): who waits may go, or is told what it waits for. The
    rest is `tend`'s."""
    state, places = scribe.state, scribe.state.places
    portfolio_id, _, home = name.partition("/")
    places.of((portfolio_id, home))
    for message in places.unanswered.values():
        state.unplaced.add(message)
    places.unanswered.clear()
    lease = around.leases.by_portfolio.get(portfolio_id)
    for person in () if lease is None or not places.lines else lease.known:
        state.needs_no_place(person)


def tend(scribe: Scribe, around: Surroundings) -> None:
    """Let go as many of each line as there are units for, and give back what lies idle."""
    state, places = scribe.state, scribe.state.places
    for units in places.units.values():
        units.wants = False
    if places.let:  # as many as there are units in hand at most
        places.let = {each.message_id: each for each in places.let.values() if _may_still_go(state, each)}
    for home in list(places.lines):
        _let_go(scribe, around, home)
    _forget_whom_nobody_counts(scribe.state, around)
    for key, units in places.units.items():
        lease = around.leases.account(key)
        if lease.granted != units.seen:
            units.seen, units.used_at = lease.granted, scribe.now
        in_hand = units.in_hand(lease)
        if in_hand > 0 and not _is_busy(units, scribe.now):
            _spend(scribe, key, in_hand, returned=in_hand)


def _forget_whom_nobody_counts(state: LaneState, around: Surroundings) -> None:
    """Of a portfolio without a limit the ledger grants a unit for each message, and keeps the people: should Meta lower
    the limit, it is asked about those who count."""
    for portfolio_id, counted in state.places.counted.items():
        lease = around.leases.by_portfolio.get(portfolio_id) if counted else None
        if lease is not None and lease.limit == UNLIMITED:
            counted.clear()


def _is_busy(units: Units, now: float) -> bool:
    return 0.0 <= now - units.used_at < IDLE_SECONDS


def _may_still_go(state: LaneState, message: Message) -> bool:
    here = state.messages.get(message.message_id) is message and message.waiting
    return here and (message.status != "held" or message.reason in HELD_FOR_A_PLACE)


def _let_go(scribe: Scribe, around: Surroundings, home: str) -> None:
    state, places = scribe.state, scribe.state.places
    first = places.first(home, state.messages)
    for portfolio_id in _portfolios_of(around, first) if first is not None else ():
        key = (portfolio_id, home)
        units = places.of(key)
        units.wants = True
        waiting = sum(each.home == home for each in places.let.values())
        for _ in range(max(0, units.in_hand(around.leases.account(key)) - waiting)):
            message = places.first(home, state.messages)
            if message is None:
                return
            del places.lines[home][message.message_id]
            places.let[message.message_id] = message
            state.unplaced.add(message)


def _portfolios_of(around: Surroundings, message: Message) -> set[str]:
    """Whose places would do for the message."""
    facts = [around.fleet.get(candidate.number) for candidate in message.plan if candidate.form == "template"]
    return {each.portfolio_id for each in facts if each is not None and each.limited}


def asks_of(state: LaneState, around: Surroundings, now: float) -> list[Emission]:
    """What is to be asked of the ledger now. Nothing of it is journaled: who takes the lane over asks anew."""
    asks = []
    for key, units in state.places.units.items():
        lease = around.leases.account(key)
        low = units.in_hand(lease) < units.batch // 4 and 0.0 <= now - units.used_at < BATCH_LASTS_SECONDS
        if not (units.wants or low) or 0.0 <= now - units.looked_at < LOOK_SECONDS:
            continue
        units.looked_at = now
        persons = _uncounted(state, around, key, units.batch, now)
        wanted = max(len(persons), int(units.wants and units.in_hand(lease) <= 0))
        if _asks_now(state, around, key, lease, units.spent + wanted, now):
            asks.append(_ask(key, units, state.places.name(key[1], MOST_NAMED) or persons[:MOST_NAMED], now))
    return asks


def _asks_now(state: LaneState, around: Surroundings, key: Key, lease: LeaseAccount, target: int, now: float) -> bool:
    """Whether to ask: for more than the last time at once; for the same again when there may be another answer."""
    units = state.places.of(key)
    if target <= lease.granted:
        return False
    if target > units.target:
        lasted = now - units.asked_at
        doubled = 0.0 <= lasted < BATCH_LASTS_SECONDS
        units.batch = min(LARGEST_BATCH, units.batch * 2) if doubled else max(FIRST_BATCH, units.batch // 2)
        units.tries = 0
    elif units.asked_at <= now < _asks_again_at(state, around, key, lease):
        return False
    else:
        units.tries = 0 if units.answered(lease) else units.tries + 1
    units.target, units.asked_at = target, now
    return True


def _asks_again_at(state: LaneState, around: Surroundings, key: Key, lease: LeaseAccount) -> float:
    """When the next place is free, as far as is known; soon, where others may have written to who waits; while the
    ledger is silent at growing distances."""
    units = state.places.of(key)
    if not units.answered(lease):
        return units.asked_at + min(2.0**units.tries, LONGEST_SILENCE_SECONDS)
    if key[1] in state.places.unnamed:
        return units.asked_at + NAMES_SECONDS
    free_at = around.leases.free_at(key[0], 1, units.asked_at)
    longest = units.asked_at + LONGEST_WAIT_SECONDS
    return longest if free_at is None else min(max(free_at, units.asked_at + 1.0), longest)


def _ask(key: Key, units: Units, persons: list[str], now: float) -> Emission:
    portfolio_id, home = key
    event = PortfolioEvent(
        portfolio_id=portfolio_id,
        kind="wanted",
        at=instant(now),
        home=home,
        sequence=units.spent,
        wanted=units.target - units.spent,
        persons=tuple(persons),
    )
    identity = event_id("dispatcher", portfolio_id, home, "wanted", units.target, now)
    return Emission(PORTFOLIO_EVENTS, portfolio_id, portfolio_id, event, identity, now)


def _uncounted(state: LaneState, around: Surroundings, key: Key, most: int, now: float) -> list[str]:
    """Up to `most` people who do not count and for whom something waits."""
    found: dict[str, None] = {}
    for message in islice(_waiting(state, around, key), 2 * most):
        first = next((each for each in message.plan if each.valid_until is None or each.valid_until > now), None)
        outside = first is not None and (first.form == "template" or message.template_only)
        if outside and not state.places.counts(around.leases, key[0], message.person_key, now):
            found[message.person_key] = None
            if len(found) >= most:
                break
    return list(found)


def _waiting(state: LaneState, around: Surroundings, key: Key) -> Iterator[Message]:
    """Held for a place, let go, or in the queue of a number of that home and portfolio."""
    portfolio_id, home = key
    yield from state.places.lines.get(home, {}).values()
    yield from state.places.let.values()
    for number in state.busy:
        facts = around.fleet.get(number)
        if facts is not None and facts.portfolio_id == portfolio_id and facts.home == home:
            for queue in state.number(number).queues.values():
                yield from queue.messages()


def next_look(state: LaneState, around: Surroundings, now: float) -> float | None:
    """When a unit goes back or an ask is due although nothing arrives (Unix seconds)."""
    times = []
    for key, units in state.places.units.items():
        lease = around.leases.account(key)
        if units.in_hand(lease) > 0:
            times.append(units.used_at + IDLE_SECONDS)
        elif units.wants:
            times.append(max(_asks_again_at(state, around, key, lease), now + LOOK_SECONDS))
    return min(times, default=None)
