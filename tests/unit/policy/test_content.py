"""What looks odd and is honest passes; what is hostile costs no time; a refusal quotes nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harkara.policy.content import content_problem, names_adviser
from harkara.policy.disguise import disguise
from harkara.policy.sections import AdvisorIdentification
from tests.unit.policy.cases import TEMPLATE, intent

ADVISER = AdvisorIdentification(texts=("INA 000012345",), templates=("weekly_note",))


@pytest.mark.parametrize(
    "text",
    [
        "Namaste Asha, your advice for today: hold.\n\nSEBI RIA INA000012345\t(terms apply)",
        "प्रिय आशा, आपका निवेश सलाह पत्र तैयार है। क्‍षमा, श्री‌मान",  # joiners inside words, as Hindi and Marathi need them
        "मराठी: र्‍य, ॲप",
        "مرحبا\u200f 123 \u200e(abc)\u200f",  # direction marks in a text from right to left
        "می\u200cخواهم",  # Persian
        "شماره \u06dd \u0600",  # formats that show
        "👨\u200d👩\u200d👧 family, 🏳️\u200d🌈, ❤️, 👍🏽, ☎️, 1️⃣, ©️",
        "👨🏽\u200d🌾 farmer",
        "flags 🇮🇳 \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "A B C D E",  # answers to choose from
        "U.S.A. and I.N.A. 1. 2. 3. 4. 5. 6. 7.",
        "a-b c-d e-f",
        "x, y, and z; p or q?",
        "{{}} {{ }} {a} {{a-b}} {{" + "a" * 80 + "}}",
        "10 μm, Ω and π; α-Test; Москва and Moscow",
        "𝑥 + 𝑦 = 𝑧²",
        "über naïve café Ångström Việt",
        "https://example.com/a_b?c={{}}",
        "日本語のテキスト、ＦＵＬＬ",
        "שלום\u200f 123 \u200e(abc)",  # Hebrew
        "क\u200d\u094d\u0937",
        "a 1 b 1 c 1 d 1 e 1 f",
        "a    b    c    d    e    f",
        "{{abc",
        "Ͱϴ Ж Ḃuy",
        "ɐбв 7бв Ω12",
        "",
    ],
)
def test_honest_writing_is_left_alone(text: str) -> None:
    assert disguise(text) is None


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize(
    ("text", "code", "positions"),
    [
        ("a\u200bb", "content_invisible", (2,)),
        ("A\u200dB", "content_invisible", (2,)),
        ("\u200dक", "content_invisible", (1,)),
        ("क\u200d", "content_invisible", (2,)),
        ("क\u200d\u200dक", "content_invisible", (2, 3)),
        ("abc\u200f", "content_invisible", (4,)),
        ("\u061cabc", "content_invisible", (1,)),
        ("❤\ufe0fa\ufe0f", "content_invisible", (4,)),
        ("\ufe0f", "content_invisible", (1,)),
        ("\U0001f3f4a\U000e0067", "content_invisible", (3,)),
        ("\U000e0067", "content_invisible", (1,)),
        ("\U0001f3f4" + "\U000e0067" * 10, "content_invisible", (10, 11)),
        ("a\x7fb", "content_invisible", (2,)),
        ("caf\u00e9 g\u043eld", "content_disguised", (6,)),
        ("\u03bfil", "content_disguised", (1,)),
        ("ab \U0001d41a\U0001d41b\U0001d41c", "content_disguised", (4,)),
        ("\ufe0f❤", "content_invisible", (1,)),
        ("a\u200d❤", "content_invisible", (2,)),
        ("❤\u200da", "content_invisible", (2,)),
        ("g\u1f40ld", "content_disguised", (1,)),
        ("g\u1ffcld o\u0401k o\u0400ff ok\u052f", "content_disguised", (1, 6, 10, 15)),
        ("\u1ea1б\u0107", "content_disguised", (1,)),
        ("\u024fбc", "content_disguised", (1,)),
        ("a   b   c   d   e   f", "content_split", (1,)),
        ("ab c d e f g h", "content_split", (4,)),
        ("a\u0301b c d e f g h", "content_split", (5,)),
        ("a b\u0301 c d e f", "content_split", (1,)),
        ("a b c d e f", "content_split", (1,)),
        ("1 a b c d e f", "content_split", (3,)),
        ("x a. b. c. d. e. f.", "content_split", (3,)),
        ("go a|b|c|d|e|f", "content_split", (4,)),
        ("{{{a}}", "content_placeholder", (2,)),
        ("a {{b_2}} c", "content_placeholder", (3,)),
        ("{{" + "a" * 64 + "}}", "content_placeholder", (1,)),
    ],
)
def test_what_is_disguised_is_found_where_it_stands(text: str, code: str, positions: tuple[int, ...]) -> None:
    found = disguise(text)
    assert found is not None
    assert (found.code, found.positions) == (code, positions)


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f3f4" + "\U000e0067" * 4095,
        "{{" * 2048,
        "{{" * 2000 + "}}",
        "a " * 2048,
        "a\u0301" * 2048,
        "a" + "\u0301" * 4095,
        "\u200d" * 4096,
        "क\u200d" * 2048,
        "аa" * 2048,
        ". " * 2048,
        "\u0645\u200f" * 2048,
    ],
)
def test_hostile_texts_cost_milliseconds(text: str) -> None:
    """A quadratic rule would take seconds over these; the bound leaves room for a busy machine."""
    started = time.process_time()
    disguise(text)
    assert time.process_time() - started < 0.25


def problem(**changes: Any) -> tuple[str, str, dict[str, str]]:
    found = content_problem(intent(**changes))
    assert found is not None
    return found.code, found.text, found.details


def test_a_refusal_names_part_field_and_characters_and_quotes_nothing() -> None:
    code, text, details = problem(content=TEMPLATE | {"body": ["fine", "Asha\nRao\n"]})
    assert (code, text) == (
        "template_value_refused", "The template's value body 2 has a line break or tab at characters 5, 9.",
    )  # fmt: skip
    assert details == {"part": "content", "field": "body 2", "positions": "5, 9"}
    code, text, _ = problem(content={"type": "text", "body": "Ash\u200ba"})
    assert (code, text) == ("content_invisible", "The text has characters that show nothing at character 4.")
    code, text, details = problem(content=TEMPLATE | {"body": ["\u200b"]})
    assert text == "The template's value body 1 shows nothing."
    assert "positions" not in details


def test_variants_are_looked_at_like_the_template_itself() -> None:
    hindi = {"language": "hi", "body": ["आशा"]}
    assert content_problem(intent(content=TEMPLATE | {"variants": [hindi]})) is None
    assert content_problem(intent(content=TEMPLATE | {"variants": [{"language": "hi"}]})) is None
    code, _, details = problem(content=TEMPLATE | {"variants": [hindi | {"header": "a\tb"}]})
    assert (code, details["field"]) == ("template_value_refused", "header in hi")
    named = TEMPLATE | {"body": [], "named": {"name": "Asha"}}
    assert content_problem(intent(content=named | {"variants": [{"language": "hi", "named": {"name": "आशा"}}]})) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"content": {"type": "text", "body": "Hold. ina000012345"}}, True),
        ({"content": {"type": "text", "body": "Hold. INA0000 12345"}}, True),
        ({"content": {"type": "text", "body": "Hold. INA00001234"}}, False),
        ({"content": {"type": "image", "id": "1", "caption": "by INA000012345"}}, True),
        ({"content": {"type": "image", "id": "1"}}, False),
        ({"content": TEMPLATE}, False),
        ({"content": TEMPLATE | {"body": ["Asha", "INA000012345"]}}, True),
        ({"content": TEMPLATE | {"header": "INA000012345"}}, True),
        ({"content": TEMPLATE | {"body": [], "named": {"who": "INA 000012345"}}}, True),
        ({"content": TEMPLATE | {"name": "weekly_note"}}, True),
        ({"content": TEMPLATE | {"name": "weekly_note"}, "fallback_template": TEMPLATE}, False),
        ({"content": {"type": "text", "body": "INA000012345"}, "fallback_template": TEMPLATE | {"name": "weekly_note"}},
         True),
    ],
)  # fmt: skip
@pytest.mark.req("CMP-9")
def test_the_adviser_is_named_in_every_content_that_may_go(changes: dict[str, Any], named: bool) -> None:
    assert names_adviser(intent(**changes), ADVISER) is named


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("a" * 1024, False),
        ("a" * 1025, True),
        ("    Asha", False),
        ("     Asha", True),
        ("Asha     ", True),
        ("Asha\x07", True),
        ("\x07\x00", True),
    ],
)
def test_the_bounds_of_a_templates_value(value: str, refused: bool) -> None:
    found = content_problem(intent(content=TEMPLATE | {"body": [], "named": {"value": value}}))
    assert (found is not None) is refused


def test_line_breaks_and_tabs_are_for_texts_and_captions_alone() -> None:
    document = {"type": "document", "id": "1", "filename": "a.pdf", "caption": "line\n\tbreak       and spaces"}
    assert content_problem(intent(content=document)) is None
    button = {"sub_type": "url", "index": 0, "value": "a     b"}
    assert content_problem(intent(content=TEMPLATE | {"buttons": [button]})) is not None


def test_of_many_places_the_first_ten_are_named() -> None:
    code, _, details = problem(content=TEMPLATE | {"body": ["a\n" * 12]})
    assert (code, details["positions"]) == ("template_value_refused", "2, 4, 6, 8, 10, 12, 14, 16, 18, 20")
