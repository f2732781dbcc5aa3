"""Whatever Meta sends: nothing raises, and what is right beside it is applied."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.ingestion.normalise import FIELDS
from harkara.policy.governance import Governance
from tests.unit.ingestion.test_normalise import AT, applied, messages, notice, status

KEYS = "id status timestamp type from text body errors code title system edit message interactive pricing".split()
WORDS = st.sampled_from(["sent", "failed", "text", "image", "edit", "interactive", "stop"])
LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | WORDS
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
ITEM = JSON | st.fixed_dictionaries({"id": st.just("w"), "timestamp": st.just(AT)} | {key: JSON for key in KEYS[3:]})
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)


@QUIET
@given(kind=st.sampled_from(["statuses", "messages", "errors"]), items=st.lists(ITEM, max_size=4))
def test_no_item_raises_or_holds_up_a_right_one(governance: Governance, kind: str, items: list[Any]) -> None:
    value = {"statuses": [status()]}
    value[kind] = [*items, *value.get(kind, [])]
    (found,) = applied(messages(**value), governance)
    steps = [each.event for each in found.emissions if isinstance(each.event, MessageLifecycle)]
    assert "wamid.1" in [each.wamid for each in steps]
    assert all(each.event.model_dump_json() for each in found.emissions)


@QUIET
@given(
    field=st.sampled_from(sorted(FIELDS)) | st.text(max_size=10),
    value=st.dictionaries(
        st.sampled_from(
            ["event", "ban_info", "restriction_info", "alert_info", "decision", "entity_type", "entity_id", "waba_info"]
        )
        | st.text(max_size=8),
        JSON,
        max_size=8,
    ),
)
def test_no_notice_raises(governance: Governance, field: str, value: dict[str, Any]) -> None:
    (found,) = applied(notice(field, value=value), governance)
    assert found.outcome in ("applied", "ignored", "quarantined", "partly")
