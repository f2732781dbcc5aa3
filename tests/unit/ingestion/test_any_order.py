"""All samples shuffled, doubled and packed into batches of 1,000 give what they give one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.policy.governance import Governance
from tests.support.webhook_pile import BATCH, Update, packed, updates
from tests.support.webhook_world import World
from tests.unit.ingestion.conftest import LONE, NOW, PEPPER

COPIES = 4  # of every sample, each about other messages: with their doubles more than one batch of 1,000
SEEDS = 50


def submitted(update: Update) -> Iterator[MessageLifecycle]:
    """Our own word on every other message that a status is about: the rest stay waiting under their wamid."""
    for status in update["entry"][0]["changes"][0]["value"].get("statuses", []):
        if hash_of(status["id"]) % 2 == 0:
            yield MessageLifecycle(
                message_id=f"m-{hash_of(status['id']):08d}", home=LONE, status="submitted", attempt=1, at=NOW,
                phone_number_id=LONE, wamid=status["id"], form="template", template="order_dispatch_v3",
            )  # fmt: skip


def hash_of(wamid: str) -> int:
    return sum(ord(char) * (place + 1) for place, char in enumerate(wamid)) % 10**8


def one_by_one(pile: list[Update], governance: Governance) -> World:
    world = World(governance, PEPPER, NOW)
    for update in pile:
        for step in submitted(update):
            world.join(step)
        world.take(update)
    return world


@pytest.fixture(scope="module")
def pile() -> list[Update]:
    return updates(COPIES)


@pytest.fixture(scope="module")
def reference(pile: list[Update], governance: Governance) -> dict[str, Any]:
    return one_by_one(pile, governance).ends()


@pytest.mark.req("WHK-3", "WHK-5", "WHK-6")
@pytest.mark.parametrize("group", range(5))
def test_any_order_any_batch_and_twice_is_the_same(
    pile: list[Update], reference: dict[str, Any], governance: Governance, group: int
) -> None:
    assert len(pile) * 2 > BATCH
    for seed in range(group * SEEDS // 5, (group + 1) * SEEDS // 5):
        chance = random.Random(seed)
        shuffled = pile + pile
        chance.shuffle(shuffled)
        world = World(governance, PEPPER, NOW)
        ours = [step for update in pile for step in submitted(update)]
        chance.shuffle(ours)
        half = len(ours) // 2  # some messages are known before their statuses, some after
        for step in ours[:half]:
            world.join(step)
        for body in packed(shuffled):
            world.take(body)
        for step in ours[half:]:
            world.join(step)
        found = world.ends()
        for name, expected in reference.items():
            assert found[name] == expected, f"{name} differs with seed {seed}"


def test_the_reference_says_something(reference: dict[str, Any]) -> None:
    """Otherwise equal would mean nothing."""
    assert {"delivered", "read", "failed"} <= reference["counters"].keys()
    assert reference["waiting"] and reference["billed"]
    assert any(
        word and word.marketing and word.marketing.standing == "opted_out" for word in reference["standing"].values()
    )
    assert len(reference["aliases"]) > COPIES and len(reference["left"]) == 2
