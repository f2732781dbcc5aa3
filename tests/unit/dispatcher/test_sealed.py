"""What is packed comes out as it went in, whatever it is, and is small where it is the usual."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.dispatcher.sealed import LONGEST_TRACE, content_in, hash_in, seal, trace_in

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONTENT = {
    "to": "+919999950050",
    "template": {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha"]},
}
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.text(min_size=1) | st.sampled_from(["ab12" * 8, "ab12" * 16, "AB12", "abc", "ab 12"]),
    st.none()
    | st.text(min_size=1)
    | st.sampled_from([TRACE, TRACE.upper(), TRACE[:-1], "01" + TRACE[2:], TRACE + "-x"]),
    st.dictionaries(st.text(max_size=10), json, max_size=4),
)
def test_everything_comes_out_as_it_went_in(intent_hash: str, trace: str | None, content: dict[str, Any]) -> None:
    for packed in (True, False):
        sealed = seal(intent_hash, trace, content, packed=packed)
        assert (hash_in(sealed), trace_in(sealed), content_in(sealed)) == (intent_hash, trace, content)


@pytest.mark.parametrize(("trace", "most"), [(TRACE, 85), (None, 60)])
def test_the_usual_is_small(trace: str | None, most: int) -> None:
    assert len(seal("ab12" * 8, trace, CONTENT)) <= most


@pytest.mark.parametrize("length", [LONGEST_TRACE + 1, 40_000, 70_000])
def test_what_is_too_long_for_a_trace_is_left_out(length: int) -> None:
    """Anybody may write the header: it must not cost the lane its message, or its life."""
    sealed = seal("ab12" * 8, "00-" + "x" * length, CONTENT)
    assert (hash_in(sealed), trace_in(sealed), content_in(sealed)) == ("ab12" * 8, None, CONTENT)


@pytest.mark.parametrize("length", [32_768, 70_000])
def test_a_hash_that_is_too_long_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32,767"):
        seal("x" * length, TRACE, CONTENT)
