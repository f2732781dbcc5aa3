"""The marks of a content go on to the lane as the guard made them."""

from __future__ import annotations

import pytest

from harkara.contracts.intents import ContentMarks, DispatchOrder
from harkara.policy.routing import Surroundings, plan
from harkara.window_router import core
from tests.unit.policy.cases import NOW, cleared, policy


@pytest.mark.req("CMP-7")
@pytest.mark.parametrize("marks", [None, ContentMarks(template="00112233aabbccdd")])
def test_an_order_has_the_marks_of_its_intent(marks: ContentMarks | None) -> None:
    wanted = cleared().model_copy(update={"marks": marks})
    order = core.outputs(wanted, plan(wanted, policy(), Surroundings({}, {}), NOW), "v", NOW)[-1].event
    assert isinstance(order, DispatchOrder) and order.marks == marks
