"""Fair turns between flows, alone: no clock, no journal, no pace."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.dispatcher.fair import FairQueue
from harkara.dispatcher.message import Message
from harkara.dispatcher.orders import message_of
from tests.unit.dispatcher.lanes import order


def message(seq: int, flow: str = "run-a", *, media: bool = False) -> Message:
    made = message_of(order(f"message-{seq}", run_id=flow), seq, None)
    made.traits = replace(made.traits, media=media)
    return made


def filled(flows: dict[str, tuple[int, float]]) -> FairQueue:
    """(how many, weight) by flow; a flow's messages come one after another."""
    queue, seq = FairQueue(), 0
    for flow, (count, weight) in flows.items():
        for _ in range(count):
            seq += 1
            queue.put(message(seq, flow), seq, weight)
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
    queue = filled({"run-a": (10_000, 1.0)})
    served(queue, 5000)
    queue.put(message(20_000, "run-b"), 20_000, 1.0)
    assert 20_000 in [each.seq for each in served(queue, 2)]


FLOWS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 60), st.sampled_from([1.0, 2.0, 3.0, 7.0])), min_size=2
)


@pytest.mark.req("B14")
@given(FLOWS, st.integers(1, 200))
def test_turns_per_weight_differ_by_at_most_one_turn_of_each(flows: dict[str, tuple[int, float]], turns: int) -> None:
    """As long as both have something to send (Golestani 1994: self-clocked fair queueing)."""
    queue, had = filled(flows), Counter[str]()
    for each in served(queue, turns):
        had[each.flow] += 1
        busy = [flow for flow, (count, _) in flows.items() if had[flow] < count]
        for one in busy:
            for other in busy:
                gap = had[one] / flows[one][1] - had[other] / flows[other][1]
                assert gap <= 1 / flows[one][1] + 1 / flows[other][1] + 1e-9


@given(FLOWS)
def test_nothing_is_lost_or_sent_twice_and_a_flow_keeps_its_order(flows: dict[str, tuple[int, float]]) -> None:
    queue = filled(flows)
    total = sum(count for count, _ in flows.values())
    shown = [each.seq for each in queue.first(total)]
    found = served(queue, total + 1)
    assert [each.seq for each in found] == shown
    by_flow = defaultdict(list)
    for each in found:
        by_flow[each.flow].append(each.seq)
    assert {flow: len(seqs) for flow, seqs in by_flow.items()} == {flow: count for flow, (count, _) in flows.items()}
    assert all(seqs == sorted(seqs) for seqs in by_flow.values())
    assert queue.count == 0
    assert queue.next(media=True) is None
    assert list(queue.flows) == []


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_whatever_comes_and_goes_the_next_one_is_there_and_none_starves(seed: int) -> None:
    """Beside it a plain dictionary. A message in front of its flow waits at most one turn of every other flow."""
    random, queue = Random(seed), FairQueue()
    here: dict[int, Message] = {}
    waited: Counter[str] = Counter()
    for seq in range(600):
        act = random.random()
        if act < 0.5:
            each = message(seq, random.choice("abcde"), media=random.random() < 0.2)
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
                assert max(waited.values(), default=0) <= 2 * 4
        assert queue.count == len(here)
        assert {each.seq for each in queue.messages()} == set(here)
    assert {each.seq for each in served(queue, 1000)} == set(here)


def test_flows_of_one_message_each_starve_no_run() -> None:
    """Somebody starts a run for every message, as fast as the number sends."""
    queue, sent = filled({"run-a": (100, 1.0)}), Counter[str]()
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
    messages = [message(seq, f"run-{seq % 50}") for seq in range(count)]
    queue, started = FairQueue(), process_time()
    for each in messages:
        queue.put(each, each.seq, 1.0)
    served(queue, count)
    each_us = (process_time() - started) / count * 1e6
    print(f"{count} messages of 50 flows: {each_us:.1f} us each")
    assert each_us < 100


def test_what_was_cancelled_in_the_middle_takes_no_memory_for_long() -> None:
    queue = filled({"run-a": (10_000, 1.0)})
    for each in list(queue.messages())[100:]:
        queue.remove(each)
    (flow,) = queue.flows
    assert len(flow.entries[0]) < 400
    assert [each.seq for each in served(queue, 200)] == list(range(1, 101))
