"""Fair turns between producers and between the flows of each, alone: no clock, no journal, no pace."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.dispatcher.fair import FairQueue, Flow
from harkara.dispatcher.message import Message
from harkara.dispatcher.orders import message_of
from tests.unit.dispatcher.lanes import order


def message(seq: int, flow: str = "run-a", *, producer: str = "tests", media: bool = False) -> Message:
    made = message_of(order(f"message-{seq}", run_id=flow, producer=producer), seq, None)
    made.traits = replace(made.traits, media=media)
    return made


Shares = dict[str, tuple[float, dict[str, int]]]
"""By producer: its weight, and how many messages each of its runs has."""


def filled(producers: Shares) -> FairQueue:
    """Producer after producer, run after run."""
    queue, seq = FairQueue(), 0
    for producer, (weight, runs) in producers.items():
        for run, count in runs.items():
            for _ in range(count):
                seq += 1
                queue.put(message(seq, run, producer=producer), seq, weight)
    return queue


def served(queue: FairQueue, count: int, *, media: bool = True) -> list[Message]:
    found = []
    for _ in range(count):
        each = queue.next(media=media)
        if each is None:
            break
        queue.remove(each, turn_taken=True)
        found.append(each)
    return found


@pytest.mark.req("B14")
def test_one_message_of_another_flow_does_not_wait_behind_ten_thousand() -> None:
    queue = filled({"shop": (1.0, {"run-a": 10_000})})
    served(queue, 5000)
    queue.put(message(20_000, "run-b", producer="shop"), 20_000, 1.0)
    assert 20_000 in [each.seq for each in served(queue, 2)]
    queue.put(message(20_001, "run-c", producer="bank"), 20_001, 1.0)
    assert 20_001 in [each.seq for each in served(queue, 2)]


RUNS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60), min_size=1)
PRODUCERS = st.dictionaries(
    st.sampled_from(("shop", "bank", "school", "clinic")),
    st.tuples(st.sampled_from([1.0, 2.0, 3.0, 7.0]), RUNS),
    min_size=1,
)


@pytest.mark.req("B14")
@pytest.mark.parametrize(("weight", "share"), [(1.0, 50), (3.0, 75)])
def test_a_producer_gets_no_more_by_splitting_its_messages_into_runs(weight: float, share: int) -> None:
    bulk = {f"run-{n}": 20 for n in range(20)}
    queue = filled({"shop": (1.0, bulk), "bank": (weight, {"run-b": 100})})
    had = Counter(each.producer for each in served(queue, 100))
    assert had["bank"] == pytest.approx(share, abs=1)


@pytest.mark.req("B14")
@given(PRODUCERS, st.integers(1, 200))
@settings(deadline=None)
def test_turns_per_weight_differ_by_at_most_one_turn_of_each(producers: Shares, turns: int) -> None:
    """As long as both have something to send (Golestani 1994: self-clocked fair queueing): producers by weight, the
    runs of one producer evenly."""
    queue, had, runs_had = filled(producers), Counter[str](), Counter[tuple[str, str]]()
    total = {producer: sum(runs.values()) for producer, (_, runs) in producers.items()}
    for each in served(queue, turns):
        had[each.producer] += 1
        runs_had[each.producer, each.flow] += 1
        busy = [(name, producers[name][0]) for name in producers if had[name] < total[name]]
        for one, its in busy:
            for other, others in busy:
                assert had[one] / its - had[other] / others <= 1 / its + 1 / others + 1e-9
        for name, (_, runs) in producers.items():
            going = [runs_had[name, run] for run, count in runs.items() if runs_had[name, run] < count]
            assert not going or max(going) - min(going) <= 2


@given(PRODUCERS)
@settings(deadline=None)
def test_nothing_is_lost_or_sent_twice_and_a_flow_keeps_its_order(producers: Shares) -> None:
    queue = filled(producers)
    counts = {(name, run): count for name, (_, runs) in producers.items() for run, count in runs.items()}
    total = sum(counts.values())
    shown = [each.seq for each in queue.first(total)]
    assert shown[:7] == [each.seq for each in queue.first(7)]
    found = served(queue, total + 1)
    assert [each.seq for each in found] == shown
    by_flow = defaultdict(list)
    for each in found:
        by_flow[each.producer, each.flow].append(each.seq)
    assert {flow: len(seqs) for flow, seqs in by_flow.items()} == counts
    assert all(seqs == sorted(seqs) for seqs in by_flow.values())
    assert queue.count == 0
    assert queue.next(media=True) is None
    assert list(queue.flows) == []


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_whatever_comes_and_goes_the_next_one_is_there_and_none_starves(seed: int) -> None:
    """Beside it a plain dictionary. A message in front of its flow waits at most one turn of every other flow of its
    producer, and for each of these and its own one of every other producer."""
    random, queue = Random(seed), FairQueue()
    here: dict[int, Message] = {}
    waited: Counter[str] = Counter()
    for seq in range(600):
        act = random.random()
        if act < 0.5:
            producer, run = random.choice(("shop a", "shop b", "shop c", "bank d", "bank e")).split()
            each = message(seq, run, producer=producer, media=random.random() < 0.2)
            here[seq] = each
            queue.put(each, random.choice([seq, random.random() * 600]), 1.0)
        elif act < 0.65 and here:
            each = here.pop(random.choice(list(here)))
            queue.remove(each)
            waited = Counter({flow: waited[flow] for flow in {m.flow for m in here.values()}})
        else:
            for each in served(queue, 1):
                assert here.pop(each.seq) is each
                waited = Counter({flow: waited[flow] + 1 for flow in {m.flow for m in here.values()} - {each.flow}})
                assert max(waited.values(), default=0) <= 2 * 3 * 2
        assert queue.count == len(here)
        assert {each.seq for each in queue.messages()} == set(here)
    assert {each.seq for each in served(queue, 1000)} == set(here)


def test_flows_of_one_message_each_starve_no_run() -> None:
    """Somebody starts a run for every message, as fast as the number sends."""
    queue, sent = filled({"tests": (1.0, {"run-a": 100})}), Counter[str]()
    for seq in range(1000, 1200):
        queue.put(message(seq, f"run-{seq}"), seq, 1.0)
        for each in served(queue, 1):
            sent["run-a" if each.flow == "run-a" else "others"] += 1
    assert sent["run-a"] >= 2
    assert len(list(queue.flows)) <= 201


def test_texts_overtake_media_that_wait_and_media_catch_up_once() -> None:
    queue = FairQueue()
    for seq in range(1, 41):
        queue.put(message(seq, "run-a" if seq % 2 else "run-b", media=seq % 4 == 0), seq, 1.0)
    texts = served(queue, 100, media=False)
    assert [each.seq for each in texts if each.flow == "run-a"] == list(range(1, 41, 2))
    assert not any(each.media for each in texts)
    for seq in range(50, 60):
        queue.put(message(seq, "run-a"), seq, 1.0)
    flows = [each.flow for each in served(queue, 12)]
    assert flows[0] == "run-b"
    assert abs(flows.count("run-a") - flows.count("run-b")) <= 2  # it has not saved up what it could not send


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_a_large_queue_costs_a_message_no_more(count: int) -> None:
    """Figure printed; the bound is ten times what it takes, so that only a scan fails it."""
    messages = [message(seq, f"run-{seq % 50}", producer=f"shop-{seq % 7}") for seq in range(count)]
    queue, started = FairQueue(), process_time()
    for each in messages:
        queue.put(each, each.seq, 1.0)
    served(queue, count)
    each_us = (process_time() - started) / count * 1e6
    print(f"{count} messages of 350 flows: {each_us:.1f} us each")
    assert each_us < 100


def test_what_was_cancelled_in_the_middle_takes_no_memory_for_long() -> None:
    queue = filled({"shop": (1.0, {"run-a": 10_000})})
    for each in list(queue.messages())[100:]:
        queue.remove(each)
    ((_, flow),) = queue.flows
    assert len(flow.entries[0]) < 400
    assert [each.seq for each in served(queue, 200)] == list(range(1, 101))


@pytest.mark.parametrize("apart", ["run", "producer"])
def test_runs_and_producers_that_left_without_a_turn_take_no_memory_for_long(apart: str) -> None:
    """One waits at a number that is paused, so nothing of theirs comes to the top."""
    queue = filled({"shop": (1.0, {"first": 1})})
    queue.next(media=True)
    for seq in range(2, 2_002):
        passing = message(seq, f"{apart}-{seq}", producer=f"shop-{seq}" if apart == "producer" else "shop")
        queue.put(passing, seq, 1.0)
        queue.remove(passing)
    kept = [each for each in gc.get_objects() if isinstance(each, Flow) and each.name.startswith(f"{apart}-")]
    assert len(kept) < 100
    assert [each.seq for each in served(queue, 2)] == [1]


def test_an_empty_queue_holds_nothing_of_what_it_sent() -> None:
    """Of a thousand numbers most are idle, and nobody looks at an idle one."""
    queue = FairQueue()
    for seq in range(3):
        queue.put(message(seq, "idle", media=seq == 1), seq, 1.0)
    while queue.count:
        each = queue.next(media=True)
        assert each is not None
        queue.remove(each, turn_taken=True)
    del each
    assert not [each for each in gc.get_objects() if isinstance(each, Flow) and each.name == "idle"]
    assert (queue.has_text, queue.has_media) == (False, False)
