"""One number's trouble is its own: the number beside it on the same lane keeps its rate; a token's trouble is all its
numbers', in every lane and process."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.contracts.numbers import NumberEvent
from harkara.contracts.partition import partition_for
from harkara.contracts.topics import NUMBER_EVENTS
from harkara.dispatcher.lane_log import LaneLog
from harkara.dispatcher.settings import Settings
from tests.integration.dispatcher.sick_numbers import change, govern, operator, refused, say, times, times_of
from tests.integration.dispatcher.stack import ONE, PARTITIONS, PARTNER, POOLED, TWO, Stack, order, stack
from tests.support.wait import eventually

LATENCY = {"HARKARA_SIM_LATENCY_MS": "30"}
CALLS = 200  # of the partner in a window, at 20 a second 10 s: one more or less is half a percent
MOST_CALLS = 400  # of a window that is lengthened: what one stall of a busy machine took from one lane weighs less
LONGEST_WINDOW_SECONDS = 60.0  # a machine too slow for the pace stretches the window and leaves its calls as many
EACH = 2400  # orders of each number that is compared: five windows of the most calls, and what is sent between
LEAST_SHARE = 0.7  # of the partner's own rate without the trouble: the sick number slows no lane of the process
TROUBLES = ("hang_after", "html_503", "html_502")
MOST_UNDER_WAY = 3  # of a number with a call each 100 ms, where a slow machine answers the first after 300
MOST_IN_DOUBT = 30  # of 300 calls due in the trouble: what opened the breaker, what was under way, a probe each time


async def calls_while(made: Stack, sick: dict[str, object]) -> tuple[int, int, float]:
    """Calls of TWO and of PARTNER while ONE is sick, until the partner's have come to `CALLS`, and where the two differ
    then, to `MOST_CALLS`; and the partner's calls a second."""
    await change(made, f"numbers/{ONE}", **sick)
    began = datetime.now(UTC).timestamp()

    async def after(calls: int) -> tuple[int, int, float]:
        found: dict[str, list[float]] = {}

        async def are_there() -> bool:
            for number, all_times in (await times_of(made, (TWO, PARTNER))).items():
                found[number] = sorted(at for at in all_times if at >= began)
            return len(found[PARTNER]) >= calls

        await eventually(are_there, LONGEST_WINDOW_SECONDS, every=1.0)
        ended = found[PARTNER][calls - 1]
        return sum(at <= ended for at in found[TWO]), calls, calls / (ended - began)

    beside, apart, rate = await after(CALLS)
    return (beside, apart, rate) if as_fast(beside, apart) else await after(MOST_CALLS)


def as_fast(beside: int, apart: int) -> bool:
    """Whether the number beside the sick one makes 95 % of the calls that the one in a lane of its own makes."""
    return beside >= 0.95 * apart


@pytest.mark.req("FHL-8", "FHL-10", "FHL-3")
async def test_a_number_that_hangs_floods_or_is_refused_changes_nothing_beside_it(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """ONE and TWO share a lane; PARTNER has TWO's pace in another: what slows the whole machine slows it too."""
    assert partition_for(ONE, PARTITIONS) == partition_for(TWO, PARTITIONS) != partition_for("pool-a", PARTITIONS)
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        govern(made, {ONE: "slow", TWO: "steady", PARTNER: "steady"})
        dispatcher = await made.dispatcher()
        for number, first in ((ONE, 61_000), (TWO, 62_000), (PARTNER, 65_000)):
            await made.send(
                order(f"of-{number[-2:]}-{n:04}", (number,), to=f"+9199999{first + n}", category="marketing")
                for n in range(600 if number == ONE else EACH)
            )
        everything = {f"of-{number[-2:]}-{n:04}" for number in (TWO, PARTNER) for n in range(EACH)}

        async def all_taken_in() -> bool:
            return everything <= (await made.states()).keys()

        await eventually(all_taken_in, timeout_seconds=60, every=0.5)
        for number in (ONE, TWO, PARTNER):
            await eventually(lambda number=number: some_of(made, number), timeout_seconds=30)
        healthy = await compare(made)
        rates = [await compare(made, token_valid=False)]
        refusals = await refused(made, 190)
        assert max(attempts(made)) <= await halt_of(made, ONE), "nothing begins once the first refusal is known"
        assert 1 <= refusals <= MOST_UNDER_WAY
        await change(made, f"numbers/{ONE}", token_valid=True)
        before = len(await times(made, ONE))
        await say(made, ONE, "open", 1, resumed_at=datetime.now(UTC))
        await eventually(lambda: some_of(made, ONE, before), timeout_seconds=20)
        for fate in TROUBLES:
            rates.append(await compare(made, fate=fate))
        if min(rates) < LEAST_SHARE * healthy:  # where the machine itself has slowed down, it is slow without a trouble
            healthy = min(healthy, await compare(made, fate=""))
        assert min(rates) >= LEAST_SHARE * healthy
        statuses = await made.statuses()
        in_doubt = [name for name, status in statuses.items() if status == "in_doubt"]
        assert all(name.startswith(f"of-{ONE[-2:]}") for name in in_doubt)
        print(f"{len(in_doubt)} calls of the sick number in doubt")
        assert 5 <= len(in_doubt) <= MOST_IN_DOUBT
        assert await refused(made, 190) == refusals
        assert await dispatcher.metric(f'harkara_dispatcher_breaker{{phone_number_id="{TWO}",state="closed"}}') == 1


async def compare(made: Stack, **sick: object) -> float:
    """While ONE is sick, the number beside it keeps the rate of the one in a lane of its own; the latter's calls a
    second."""
    beside, apart, rate = await calls_while(made, sick)
    print(f"{sick}: beside it {beside} calls, in a lane of its own {apart}, {rate:.1f}/s")
    assert as_fast(beside, apart)
    return rate


def attempts(made: Stack) -> list[float]:
    """When ONE's journaled attempts were to begin, in Unix seconds."""
    journal = LaneLog(Settings(kafka=made.settings.kafka, partitions=PARTITIONS), partition_for(ONE, PARTITIONS))
    steps = [entry.data for entry in journal.read() if entry.kind == "step" and entry.data is not None]
    return [step["called_at"] for step in steps if step["status"] == "attempting" and step["number"] == ONE]


async def halt_of(made: Stack, number: str) -> float:
    """When the dispatcher knew that the number is halted, in Unix seconds."""
    return min(each.at.timestamp() for each in await halts(made) if each.phone_number_id == number)


async def some_of(made: Stack, number: str, before: int = 0) -> bool:
    """Whether the number's calls have begun, beside those before."""
    return len(await times(made, number)) > before + 5


@pytest.mark.req("FHL-10")
async def test_a_breaker_closes_again_by_itself(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        govern(made, {ONE: "steady"})
        dispatcher = await made.dispatcher()
        await change(made, f"numbers/{ONE}", fate="html_503")
        orders = [order(f"message-{n:03}", (ONE,), to=f"+9199999{61_000 + n}") for n in range(100)]
        await made.send(orders)

        async def is_open() -> bool:
            return await dispatcher.metric(f'harkara_dispatcher_breaker{{phone_number_id="{ONE}",state="open"}}') == 1

        await eventually(is_open, timeout_seconds=20)
        await change(made, f"numbers/{ONE}", fate="")

        async def the_rest_is_sent() -> bool:
            found = list((await made.statuses()).values())
            return found.count("submitted") + found.count("in_doubt") == 100

        await eventually(the_rest_is_sent, timeout_seconds=60, every=0.5)
        accepted = await made.accepted()
        assert set(accepted.values()) == {1}
        assert len(accepted) >= 80
        assert await dispatcher.metric(f'harkara_dispatcher_breaker{{phone_number_id="{ONE}",state="closed"}}') == 1


@pytest.mark.req("DSP-14", "SEC-4")
async def test_a_refused_token_stops_its_numbers_in_other_lanes_and_processes(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """ONE and TWO are at home in one lane, the pool's numbers in a lane of another process; all send with one token,
    and only ONE is refused."""
    shared = {f"TOKEN_{number}": "EAATEST-everything" for number in (ONE, TWO, POOLED)}
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        govern(made, dict.fromkeys((ONE, TWO, POOLED, PARTNER), "steady"))
        data = {"HARKARA_DATA_DIR": str(tmp_path / "data")}
        monitor = await made.start("quality-monitor", "quality-monitor-0", **data, **shared)
        first = await made.dispatcher("dispatcher-0", **shared)
        second = await made.dispatcher("dispatcher-1", **shared)
        await eventually(monitor.ready, timeout_seconds=60)

        async def lanes_are_shared() -> bool:
            return [await each.metric("harkara_dispatcher_lanes") for each in (first, second)] == [2, 2]

        await eventually(lanes_are_shared, timeout_seconds=40)
        await change(made, f"numbers/{ONE}", refuse_code=190)
        await made.send([order(f"by-pooled-{n:03}", (POOLED,), to=f"+9199999{61_000 + n}") for n in range(600)])
        await made.send([order(f"by-two-{n:03}", (TWO,), to=f"+9199999{62_000 + n}") for n in range(600)])
        await made.send([order(f"by-partner-{n:03}", (PARTNER,), to=f"+9199999{63_000 + n}") for n in range(600)])
        await eventually(lambda: all_began(made), timeout_seconds=30)
        await made.send([order("by-one-1", (ONE,), to="+919999964000")])
        await eventually(lambda: all_are_halted(made), timeout_seconds=20)
        at = min(each.at.timestamp() for each in await halts(made) if each.source == "dispatcher")
        await eventually(lambda: quiet(made, POOLED), timeout_seconds=20)
        await eventually(lambda: quiet(made, TWO), timeout_seconds=5)
        late = {number: max(await times(made, number)) - at for number in (TWO, POOLED)}
        print("last call after the refusal:", {number: f"{seconds:.3f} s" for number, seconds in late.items()})
        assert late[TWO] <= 0.1, "the same process: at once"
        assert late[POOLED] <= 3.0, "another process: by number-state"
        assert await refused(made, 190) == 1
        assert not await quiet(made, PARTNER), "a number with a token of its own goes on"
        await change(made, f"numbers/{ONE}", refuse_code=0)
        for number in (ONE, TWO, POOLED):
            await operator(made, "resume", number)
        await eventually(lambda: made.all_are(["by-one-1"], "submitted"), timeout_seconds=20)


async def all_began(made: Stack) -> bool:
    """Whether all three numbers send."""
    return all([len(await times(made, number)) > 5 for number in (TWO, POOLED, PARTNER)])


async def halts(made: Stack) -> list[NumberEvent]:
    """The halts that were told."""
    return [each for each in await made.events(NUMBER_EVENTS) if each.kind == "halted"]


async def all_are_halted(made: Stack) -> bool:
    """Whether the refused number and those of its token are among them."""
    return {each.phone_number_id for each in await halts(made)} >= {ONE, TWO, POOLED}


async def quiet(made: Stack, number: str) -> bool:
    """Whether the number's newest call is a second old, which at its rate is twenty calls."""
    return datetime.now(UTC).timestamp() - max(await times(made, number)) > 1.0
