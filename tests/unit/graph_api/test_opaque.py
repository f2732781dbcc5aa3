"""The mark that every status brings back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.graph_api.opaque import MAX_LENGTH, callback_data, parse_callback_data

IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=8, max_size=64)


@given(message_id=IDS, attempt=st.integers(1, 999_999))
def test_what_is_written_is_read_back_and_fits(message_id: str, attempt: int) -> None:
    data = callback_data(message_id, attempt)
    assert parse_callback_data(data) == (message_id, attempt)
    assert len(data) <= MAX_LENGTH


@given(st.one_of(st.none(), st.text()))
def test_foreign_data_never_raises(data: str | None) -> None:
    parsed = parse_callback_data(data)
    assert parsed is None or callback_data(*parsed) == data


@pytest.mark.parametrize(
    "data",
    [
        None, "", "v1:acme-retail:cmp-8841:msg-000001", "msg-00000001", "msg-00000001.", "msg-00000001.0",
        "msg-00000001.01", "msg-00000001.-1", "msg-00000001.1 ", "msg-00000001.1\n", "short.1", "msg.00000001.1",
        "msg-00000001.१", "m" * 600 + ".1",
    ],
)  # fmt: skip
def test_what_is_not_ours_is_none(data: str | None) -> None:
    assert parse_callback_data(data) is None


@pytest.mark.parametrize(("message_id", "attempt"), [("short", 1), ("has.dot.inside", 1), ("msg-00000001", 0)])
def test_what_could_not_be_read_back_is_not_written(message_id: str, attempt: int) -> None:
    with pytest.raises(ValueError, match="message id"):
        callback_data(message_id, attempt)
