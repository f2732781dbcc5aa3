"""An order that was only glanced at says of its attempts what the whole one says, and becomes the whole one."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.contracts.intents import DispatchOrder
from harkara.dispatcher.glance import GLANCED, glanced, whole
from harkara.dispatcher.journal import Entry, decoded, encoded
from harkara.dispatcher.message import line_in
from harkara.dispatcher.orders import has_media
from tests.support.examples import Example, examples
from tests.unit.dispatcher.lanes import HOME, START, order

EXAMPLES = [*examples("dispatch-orders"), *examples("dispatch-orders-urgent")]
FILES = [
    {"session": {"type": kind, "id": "900"}} for kind in ("image", "video", "audio", "document", "sticker", "text")
] + [
    {"template": {"type": "template", "name": "daily_update", "language": "en", "header": header}}
    for header in ("Good morning", {"type": "image", "id": "900"}, None)
]
HEAD = b'{"home":"h","seq":3,'


def journaled(order_: dict[str, Any], kind: str = "order", **more: Any) -> tuple[bytes, bytes]:
    """The record of an entry with this order."""
    data = {"order": order_, "status": "queued", "trace": None} | more
    value = encoded(Entry("message-1", 7, kind, START, HOME, data))
    assert value is not None
    return b"message-1", value


def assert_glance_suffices(key: bytes, value: bytes) -> None:
    seen, full = glanced(key, value), decoded(key, value)
    assert seen.kind == GLANCED and full.kind == "order"
    assert seen.data is not None and full.data is not None
    mine, all_of_it = seen.data["order"], full.data["order"]
    assert (line_in(mine), has_media(mine)) == (line_in(all_of_it), has_media(all_of_it))
    assert (seen.key, seen.seq, seen.at, seen.home) == (full.key, full.seq, full.at, full.home)
    assert whole(seen) == full


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_order_of_the_contract(example: Example) -> None:
    said = example.decoded().event
    assert isinstance(said, DispatchOrder)
    assert_glance_suffices(*journaled(said.model_dump(mode="json", exclude_none=True)))
    assert_glance_suffices(*journaled(said.model_dump(mode="json")))  # as older versions wrote it, with nulls


@pytest.mark.parametrize("content", FILES, ids=str)
@pytest.mark.parametrize("names", [{}, {"line": "person-0"}, {"line": None}, {"also_key": "person-1"}], ids=str)
def test_whatever_it_carries_and_to_whom(content: dict[str, Any], names: dict[str, Any]) -> None:
    form = "session" if "session" in content else "template"
    assert_glance_suffices(*journaled(order(form=form) | content | names))


@pytest.mark.parametrize(
    "record",
    [
        journaled(order(), again={"attempt": 1, "spent": 1}),
        journaled(order(), contact={"persons": ["person-0"], "category": "utility", "attempts": []}),
        journaled(order(), kind="watch"),
        journaled(order(), kind="hold"),
        journaled({"message_id": "message-1"}),
        journaled(order(session={"no": "type"})),
        (b"message-1/s", HEAD + b'"kind":"step","at":"2026-01-01T00:00:00+00:00","data":{"status":"held"}}'),
        (b"a/b", HEAD + b'"kind":"a","at":"2026-01-01T00:00:00Z","data":{"kind":"order","order":{"person_key":"p"}}}'),
        (b"message-1", None),
    ],
)  # fmt: skip
def test_what_is_no_order_of_a_new_message_is_read_whole(record: tuple[bytes, bytes | None]) -> None:
    assert glanced(*record) == decoded(*record) == whole(glanced(*record))
    assert glanced(*record).kind != GLANCED


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"kind":"order"', journaled(order())[1][:-9], b"\xff\xfe"])
def test_bytes_that_no_lane_wrote_are_not_guessed_at(value: bytes) -> None:
    for read in (glanced, decoded):
        with pytest.raises(ValueError):
            read(b"message-1", value)
