"""Templates as Meta lists them, and what each asks of a send."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.contracts.template_state import ButtonParameter
from harkara.graph_api.templates import (
    TemplateNode,
    TemplatePage,
    category_of,
    content_hash,
    parameters_of,
    quality_of,
    status_of,
    wording_of,
)

HEADER = {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW1hZ2UvanBlZw==:ARsample"]}}
BODY = {
    "type": "BODY",
    "text": "Hello {{1}}, your order {{2}} has left; {{1}}.",
    "example": {"body_text": [["A", "O"]]},
}
FOOTER = {"type": "FOOTER", "text": "Reply STOP to opt out"}
URL = {
    "type": "URL",
    "text": "Track",
    "url": "https://shop.example.test/t/{{1}}",
    "example": ["https://shop.example.test/t/O"],
}
REPLY = {"type": "QUICK_REPLY", "text": "Stop updates"}
PHONE = {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+919999900001"}


def node(*components: dict[str, Any], **more: Any) -> TemplateNode:
    told = {"id": "1357924680135792", "name": "order_dispatch_v3", "language": "en_US", "components": components}
    return TemplateNode.model_validate(told | more)


def buttons(*each: dict[str, Any]) -> dict[str, Any]:
    return {"type": "BUTTONS", "buttons": list(each)}


@pytest.mark.req("TPL-9")
def test_a_listed_template_says_which_values_a_send_must_bring() -> None:
    found = parameters_of(node(HEADER, BODY, FOOTER, buttons(URL, REPLY, PHONE)))
    assert (found.header, found.header_values, found.body_values, found.named) == ("IMAGE", (), ("1", "2"), False)
    assert found.button_count == 3 and found.other == ()
    assert found.buttons == (
        ButtonParameter(index=0, sub_type="url", required=True),
        ButtonParameter(index=1, sub_type="quick_reply"),
    )


def test_names_headers_codes_and_links_that_never_change() -> None:
    named = parameters_of(
        node({"type": "HEADER", "format": "TEXT", "text": "For {{ who }}"}, BODY | {"text": "{{what}}"})
    )
    assert (named.named, named.header, named.header_values, named.body_values) == (True, "TEXT", ("who",), ("what",))
    assert parameters_of(node(BODY | {"text": "Nothing"}, parameter_format="NAMED")).named
    code = parameters_of(
        node(BODY | {"text": "{{1}} is your code."}, buttons({"type": "OTP", "otp_type": "COPY_CODE"}))
    )
    assert code.buttons == (ButtonParameter(index=0, sub_type="url", required=True),)
    fixed = parameters_of(node(BODY, buttons(URL | {"url": "https://shop.example.test"}, {"type": "COPY_CODE"})))
    assert [(each.sub_type, each.required) for each in fixed.buttons] == [("url", False), ("copy_code", True)]


def test_what_an_intent_cannot_carry_is_named() -> None:
    assert parameters_of(node(BODY, {"type": "CAROUSEL", "cards": []})).other == ("CAROUSEL",)
    assert parameters_of(node(BODY, buttons({"type": "MPM", "text": "View"}))).other == ("MPM",)
    assert parameters_of(node({"type": "BUTTONS", "buttons": None}, {"type": "BODY"}, {})).other == ("",)


def test_the_hash_follows_what_people_see_and_no_example() -> None:
    first = content_hash(node(HEADER, BODY))
    assert first == content_hash(node({**HEADER, "example": {}}, {**BODY, "example": {"body_text": [["B", "P"]]}}))
    others = {content_hash(node(HEADER)), content_hash(node(HEADER, BODY, FOOTER)),
              content_hash(node(HEADER, BODY, parameter_format="NAMED"))}  # fmt: skip
    assert first not in others and len(others) == 3


@pytest.mark.req("CMP-11")
def test_the_wording_is_the_bodys_text_with_its_variables_and_of_a_bounded_length() -> None:
    assert wording_of(node(HEADER, BODY, FOOTER)) == BODY["text"]
    assert wording_of(node(HEADER, FOOTER)) is None and wording_of(node({"type": "BODY"})) is None
    assert wording_of(node({"type": "BODY", "text": 5}, {"type": "body", "text": "x" * 1025})) == "x" * 1024


def test_metas_words_are_ours_and_a_word_of_the_future_says_nothing() -> None:
    assert [status_of(each) for each in ("FLAGGED", "REINSTATED", "PAUSED", "HOLOGRAM", None)] == [
        "APPROVED", "APPROVED", "PAUSED", "UNKNOWN", "UNKNOWN",
    ]  # fmt: skip
    assert [category_of(each) for each in ("UTILITY", "FREE", None)] == ["UTILITY", None, None]
    assert [quality_of(each) for each in ("RED", "PURPLE", None)] == ["RED", "UNKNOWN", "UNKNOWN"]


def test_the_last_page_has_no_next_and_an_empty_list_no_paging() -> None:
    paging = {"cursors": {"before": "QQ", "after": "Qg"}}
    assert (
        TemplatePage.model_validate({"data": [], "paging": paging | {"next": "https://example.test"}}).following == "Qg"
    )
    assert TemplatePage.model_validate({"data": [], "paging": paging}).following is None
    assert TemplatePage.model_validate({"data": []}).following is None
