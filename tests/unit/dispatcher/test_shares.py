"""A number's calls are shared by producers: in a lane, over a crash, beside urgent messages and a recipient's order."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, HandDriven, order, policy

ONE_A_SECOND = Limits(per_second=1)


def called(lane: HandDriven, count: int) -> list[str]:
    """The next `count` messages that are called, each accepted at once."""
    before = len(lane.attempts)
    while len(lane.attempts) < before + count and lane.state.messages:
        lane.round(1.01)
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
    return [message_id for message_id, *_ in lane.attempts[before:]]


def producers_of(message_ids: list[str]) -> Counter[str]:
    return Counter(message_id.partition("-")[0] for message_id in message_ids)


@pytest.mark.req("B14")
@pytest.mark.parametrize(("weights", "share"), [({}, 50), ({"b": 3.0}, 75)])
def test_twenty_runs_of_one_producer_do_not_take_the_turns_of_anothers_one(
    weights: dict[str, float], share: int
) -> None:
    lane = HandDriven(limits=ONE_A_SECOND, capacity=1000, policy=policy(weights=weights))
    lane.round()
    lane.take(*(order(f"a-{n:03}", run_id=f"run-{n % 20}", producer="a") for n in range(400)), start=False)
    lane.take(*(order(f"b-{n:03}", run_id="run-b", producer="b") for n in range(200)), start=False)
    had = called(lane, 60)
    lane.crash()
    had += called(lane, 40)
    assert producers_of(had)["b"] == pytest.approx(share, abs=2)
    runs = Counter(int(message_id[2:]) % 20 for message_id in had if message_id.startswith("a"))
    assert max(runs.values()) - min(runs.get(run, 0) for run in range(20)) <= 2


@pytest.mark.req("B14", "ING-19", "DSP-17")
@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_urgent_goes_first_a_recipient_keeps_their_order_and_every_owner_takes_the_same_turns(seed: int) -> None:
    random, persons = Random(seed), dict[str, tuple[str, int]]()
    lane = HandDriven(limits=ONE_A_SECOND, capacity=1000)
    for n in range(60):
        producer, priority = random.choice("abc"), random.choice((1, 1, 1, 3))
        message_id, person = f"{producer}-{n:02}", f"person-{random.randrange(25)}"
        persons[message_id] = (person, priority)
        run = random.choice((None, f"run-{random.randrange(4)}"))
        lane.take(
            order(message_id, producer=producer, run_id=run, priority=priority, person_key=person, life=10**7),
            start=False,
        )
    first = called(lane, random.randrange(1, 50))
    lane.crash()
    twin = HandDriven(limits=ONE_A_SECOND, capacity=1000, journal=list(lane.journal), now=lane.now)
    rest = called(lane, 60)
    assert called(twin, 60) == rest
    sent = first + rest
    assert sorted(sent) == sorted(persons)
    lines = defaultdict(list)
    for message_id in sent:
        lines[persons[message_id]].append(message_id[2:])
    assert all(line == sorted(line) for line in lines.values())
    for index, message_id in enumerate(sent):
        later = {persons[name][1] for name in sent[index + 1 :]}
        assert persons[message_id][1] == 3 or 3 not in later
