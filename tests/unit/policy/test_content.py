"""What looks odd and is honest passes; what is hostile costs no time; a refusal quotes nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harkara.policy.content import content_problem, names_adviser
from harkara.policy.disguise import disguise
from harkara.policy.sections import AdvisorIdentification
from tests.unit.policy.cases import TEMPLATE, intent


def struck(text: str) -> str:
    """Each of its characters struck through."""
    return "".join(f"{char}\u0336" for char in text)


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
        "{{}} {{ }} {a} {{-}} {{a+b}} {{" + "a" * 80 + "}}",
        "10 μm, Ω and π; α-Test; Москва and Moscow",
        "𝑥 + 𝑦 = 𝑧²",
        "über naïve café Ångström Việt",
        "https://example.com/a_b?c={{}}",
        "日本語のテキスト、ＦＵＬＬ",
        "ＡＢＣ株式会社のＷｅｂサイト",
        "ＮＴＴ도코모, ｶﾞｲﾄﾞＡＢＣ, ㄅＡＢＣ",
        "日 月 火 水 木 金 土",  # the days of the week, each a word
        "이 그 저 나 너 우",
        "ये जो है वो भी तो है",  # words of one letter and its vowel sign
        "मी जे ते जो की ते",
        "ये जो है, वो भी - तो है",
        "M.B.B.S., M.D., D.M., F.R.C.P.",
        "A/B, C/D or E/F; A/B C/D E/F",
        "A/B C/D E/F G",
        "9 a.m./6 p.m., U.S.A. E.S.T.",
        "10μm, 5μV and 3kΩ",
        "C/O S/O D/O W/O A/C",
        "A/B C/D E/F G/H",
        "Please fill S/O, D/O, W/O, C/O fields",
        "Marks: N/A, N/A, N/A, N/A",
        "A/C N/A A/C N/A",
        "Your grades: A, A+, B, A, A, B+, A, A",
        "Seats: A-B, C-D, E-F, G-H",
        "B.A / M.A / B.E / M.E",
        "H.U.F., P/L A/C, B/S, Q/E",
        "M.B.B.S, F.R.C.P, M/D",
        "5 μmol/L, 5μmol, 20 μSv, 3kΩm, Ωcm, MΩm, 7 mΩm and 4GΩm",
        "IFNγ, PPARγ, HNF4α and TGFβ",
        f"{struck('MRP ₹999')} now ₹499",
        f"{struck('MRP')} ₹999",
        f"{struck('Original')}: {struck('999')}",
        f"{struck('₹999 MRP')}",
        struck("Rs"),
        struck("MRP") + " " * 5 + "₹999",
        "₹" + " " * 5 + struck("MRP"),
        "₹" + struck("MRP"),
        "Mᵐᵉ Dupont, Mˡˡᵉ Dupont, 1ᵉʳ étage, x² + y²ⁿ, CO₂",
        "see the notesᵃᵇᶜ, 1ª 2º nº",
        "/ɪnˈfɪnɪti/ and /ɡɑɹdʒ/",  # how a word is spoken
        "🅰️🅱️🅾️🆎 🅿️ Ⓜ️Metro Ⓐ Ⓑ Ⓒ",
        "was ₹1\u0336,\u03360\u03360\u03360\u0336, now ₹800",  # a price that is struck out
        "7\u20de7\u20de7\u20de 1\u20e32\u20e33\u20e3",
        "a\u0338b\u0338 c, ≠ and =\u0338",
        "Nguyễn Thị Hồng Hạnh, Ọláńrewájú, Łukasz Żółć, Jiří Dvořák",
        "Nguye\u0302\u0303n Thi\u0323 O\u0323la\u0301n\u0301re",
        "Olá, João! Sua recomendação está pronta: não há ações a fazer.",
        "प्रिय श्री शर्मा, आपकी रिपोर्ट तैयार है। ✅ ₹१०,००० — धन्यवाद 🙏",
        "तुमचा अहवाल तयार आहे, कृपया पाहा व कळवा.",
        "Привет, как дела?",
        "Καλημέρα, τι κάνεις; Բարեւ ձեզ, ᎣᏏᏲ",
        "ℝ, ℕ and ℂ; ℎ = 6.6",
        "ⅩⅩⅠ, TypeⅡ, ⅰⅱⅲ",
        "Ⅲa 𝑥y",
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
        ("\U0001f3f4\U000e0080\U000e0067", "content_invisible", (3,)),  # what is no tag stands between
        ("a\x7fb", "content_invisible", (2,)),
        ("caf\u00e9 g\u043eld", "content_disguised", (6,)),
        ("a Ꮐuaranteed", "content_disguised", (3,)),  # Cherokee
        ("an օffer", "content_disguised", (4,)),  # Armenian
        ("ꓖuaranteed", "content_disguised", (1,)),  # Lisu
        ("gᴜaranteed", "content_disguised", (1,)),
        ("paypaⅼ", "content_disguised", (1,)),
        ("payр\u0301al", "content_disguised", (1,)),
        ("pa\u0301yр", "content_disguised", (1,)),
        ("раура\u03bf", "content_disguised", (1,)),
        ("g\u0489uar", "content_disguised", (1,)),
        ("ok ⒼⓊⒶⓇ", "content_disguised", (4,)),
        ("🅖🅤🅐🅡", "content_disguised", (1,)),
        ("🅱🆄🆈 now", "content_disguised", (1,)),
        ("🅱\ufe0f🆄\ufe0f🆈\ufe0f now", "content_disguised", (1,)),
        ("⒢⒰⒜", "content_disguised", (1,)),
        ("🄱🅄🅈", "content_disguised", (1,)),
        ("ɢᴜᴀʀᴀɴᴛᴇᴇᴅ", "content_disguised", (1,)),
        ("ᵍᵘᵃʳᵃⁿᵗᵉᵉᵈ", "content_disguised", (1,)),
        ("ℊℴℯ", "content_disguised", (1,)),
        ("buy ＦＲＥＥ gold", "content_disguised", (5,)),
        ("ＦＲＥＥ", "content_disguised", (1,)),
        ("gｕarａnteed", "content_disguised", (1,)),
        ("now g\u0336u\u0336a\u0336r\u0336", "content_disguised", (5,)),
        ("g\u0338u\u0338a\u0338", "content_disguised", (1,)),
        ("g\u20e0u\u20ddy\u20e5", "content_disguised", (1,)),
        ("g\u0301\u0336u\u0301\u0336a\u0301\u0336", "content_disguised", (1,)),
        ("fine g\u0336u\u0336y\u0336 x ＦＲＥＥ", "content_disguised", (6, 15)),
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
        ("a g u.a r.a n.t e.e d", "content_split", (1,)),
        ("x is g u.a r.a n.t e", "content_split", (6,)),
        ("go g u-a.r a_n t-e", "content_split", (4,)),
        ("g u.a r.a n.t e.e d", "content_split", (1,)),
        ("g.u a.r a.n t.e e.d", "content_split", (1,)),  # a space alone between pairs that are none with a slash
        ("g.u, a.r a-n.t e.e", "content_split", (1,)),
        ("g.u-a.r-a.n-t, e", "content_split", (1,)),
        ("g.u.a.r.a, n/t e/e", "content_split", (1,)),
        ("g, u.a r.a n/t, e", "content_split", (1,)),
        ("g.u - a/r - a.n - t.e", "content_split", (1,)),
        ("g-u. a-r / a-n. t-e", "content_split", (1,)),
        ("N/A B/C D/E F/G h", "content_split", (1,)),
        ("N/A, B/C x g.u a_r-a n t", "content_split", (1,)),
        (struck("guaranteed") + " ₹999", "content_disguised", (1,)),
        (struck("free") + " 999", "content_disguised", (1,)),  # digits that are not struck out are any number
        (struck("free") + " " * 6 + "₹", "content_disguised", (1,)),
        ("₹" + " " * 6 + struck("free"), "content_disguised", (8,)),
        ("M.B.B.S.D, F/R C/P", "content_split", (1,)),
        (struck("free") + " x ₹", "content_disguised", (1,)),
        ("gμaranteed μtility bμy", "content_disguised", (1, 12, 20)),
        ("GΩLD kΩld", "content_disguised", (1, 6)),
        ("payγ GOLDEα IFNο AIγγ Aiγ iAγ", "content_disguised", (1, 6, 13, 18, 23, 27)),
        ("g. u a. r a. n. t. e.", "content_split", (1,)),  # of seven gaps two begin with no dot
        ("b  u y  n o  w n o", "content_split", (1,)),
        ("Ⓖ Ⓤ Ⓐ Ⓡ Ⓐ Ⓝ", "content_split", (1,)),
        ("ｇ ｕ ａ ｒ ａ ｎ", "content_split", (1,)),
        ("न म क, ल ग भ. त द", "content_split", (1,)),
        ("{{{a}}", "content_placeholder", (2,)),
        ("a {{b_2}} c", "content_placeholder", (3,)),
        ("Hi {{first-name}}", "content_placeholder", (4,)),
        ("Hi {{ first name }}", "content_placeholder", (4,)),
        ("Hi {{client.name}} {{x}}", "content_placeholder", (4,)),
        ("{{नाम}}", "content_placeholder", (1,)),
        ("{{#if a}}", "content_placeholder", (1,)),
        ("{{-}} {{-1}}", "content_placeholder", (7,)),
        ("{{" + "a" * 64 + "}}", "content_placeholder", (1,)),
    ],
)
def test_what_is_disguised_is_found_where_it_stands(text: str, code: str, positions: tuple[int, ...]) -> None:
    found = disguise(text)
    assert found is not None
    assert (found.code, found.positions) == (code, positions)


@pytest.mark.parametrize(("first", "last"), [(0x3040, 0x31FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xFF66, 0xFFDC)])
def test_wide_letters_are_plain_beside_east_asian_ones(first: int, last: int) -> None:
    for code in (first, last):
        assert disguise(f"ＡＢＣ {chr(code)}") is None
        assert disguise(f"ab ＡＢＣ {chr(code)} ｆｒｅｅ") is None
    for code in (first - 1, last + 1):
        found = disguise(f"ＡＢＣ {chr(code)}")
        assert found is not None and (found.code, found.positions) == ("content_disguised", (1,))


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
        "a\u0336" * 2048,
        "Ⓐ " * 2048,
        "a.b-" * 1024,
        "a. " * 1365,
        "ａ" * 4096,
        "{{" + "- " * 2047,
        "{{-}}" * 819,
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


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("a" + "\u00a0" * 4 + "b", None),
        ("a" + "\u00a0" * 5 + "b", "2"),
        ("नमस्ते" + "\u2003" * 8 + "b", "7"),
        ("a \u00a0 \u3000\u2009b", "2"),
        ("a\u202f\u202f\u202f\u202f b", "2"),
        ("a \u00a0 \u3000b \u00a0 \u2003c", None),
        ("\u1680\u205f\u2000\u200a\u2007", None),
        ("x\u1680\u205f\u2000\u200a\u2007", "2"),
    ],
)
def test_a_space_is_a_space_however_wide(value: str, at: str | None) -> None:
    """Meta counts a run of more than four; the first of a run is named, where it stands in what was given."""
    found = content_problem(intent(content=TEMPLATE | {"body": [value]}))
    if at is None:
        assert found is None or found.text.endswith("shows nothing.")
    else:
        assert found is not None and (found.code, found.details["positions"]) == ("template_value_refused", at)
        assert "more than 4 spaces in a row" in found.text


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"content": TEMPLATE | {"body": ["ＮＴＴ"]}}, True),
        ({"content": TEMPLATE | {"body": ["ＮＴＴ"], "language": "ja"}}, False),
        ({"content": TEMPLATE | {"body": ["ＮＴＴ"], "language": "zh_CN"}}, False),
        ({"content": TEMPLATE | {"body": ["ＮＴＴ"], "variants": [{"language": "ko"}]}}, False),
        ({"content": TEMPLATE | {"body": ["ＮＴＴ"]}, "language": "ja"}, False),
        ({"content": {"type": "text", "body": "ＮＴＴ"}, "language": "ja"}, False),
        ({"content": {"type": "text", "body": "ＮＴＴ"}, "language": "hi"}, True),
        ({"content": {"type": "text", "body": "ＮＴＴ"}}, True),
        ({"content": {"type": "text", "body": "𝐍𝐓𝐓"}, "language": "ja"}, True),
    ],
)
def test_wide_letters_are_for_those_who_write_so(changes: dict[str, Any], refused: bool) -> None:
    found = content_problem(intent(**changes))
    assert (found is not None) is refused
    assert found is None or found.code == "content_disguised"


def test_line_breaks_and_tabs_are_for_texts_and_captions_alone() -> None:
    document = {"type": "document", "id": "1", "filename": "a.pdf", "caption": "line\n\tbreak       and spaces"}
    assert content_problem(intent(content=document)) is None
    button = {"sub_type": "url", "index": 0, "value": "a     b"}
    assert content_problem(intent(content=TEMPLATE | {"buttons": [button]})) is not None


def test_of_many_places_the_first_ten_are_named() -> None:
    code, _, details = problem(content=TEMPLATE | {"body": ["a\n" * 12]})
    assert (code, details["positions"]) == ("template_value_refused", "2, 4, 6, 8, 10, 12, 14, 16, 18, 20")
