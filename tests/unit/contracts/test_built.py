"""Values built without a check are the values that a check makes."""

from __future__ import annotations

import pytest

from harkara.contracts.event import Decision, Reason, event_id
from harkara.contracts.intents import Candidate
from harkara.contracts.lifecycle import POLICY_RANK, MessageLifecycle
from tests.unit.policy.cases import NOW, cleared

STEP = {"message_id": "m-00000001", "home": "advisors", "status": "routed", "at": NOW, "rank": POLICY_RANK["routed"]}


def test_what_is_built_is_what_is_checked() -> None:
    built, checked = MessageLifecycle.built(**STEP), MessageLifecycle.model_validate(STEP)
    assert built == checked and hash(built) == hash(checked) and repr(built) == repr(checked)
    assert built.model_dump_json() == checked.model_dump_json()  # the fields in the same order
    assert built.model_dump(exclude_unset=True) == checked.model_dump(exclude_unset=True)
    assert built.model_copy(update={"attempt": 2}).attempt == 2
    whole = cleared()
    fields = {name: getattr(whole, name) for name in whole.model_fields_set}
    assert type(whole).built(**fields).model_dump_json() == whole.model_dump_json()


def test_the_order_of_fields_is_the_classs_own() -> None:
    built = Candidate.built(reason="r", form="template", phone_number_id="1")
    assert built.model_dump_json() == Candidate(phone_number_id="1", form="template", reason="r").model_dump_json()


def test_defaults_that_are_made_anew_are_not_shared() -> None:
    one, other = (Reason.built(code="c", text="t") for _ in range(2))
    assert one.details == {} and one.details is not other.details


@pytest.mark.parametrize("fields", [{}, {"step": "routing"}, {"step": "routing", "policy_version": "v", "at": NOW}])
def test_what_lacks_a_field_is_not_built(fields: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="Decision"):
        Decision.built(**fields)


def test_what_has_an_unknown_field_is_not_built() -> None:
    with pytest.raises(TypeError, match="Reason"):
        Reason.built(code="c", text="t", texts="t")


def test_what_is_built_stays_as_it_is() -> None:
    built = Reason.built(code=event_id("c"), text="t")
    with pytest.raises(ValueError, match="frozen"):
        built.code = "d"  # type: ignore[misc]
