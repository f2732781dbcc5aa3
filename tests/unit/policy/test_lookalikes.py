"""The one table of characters that are drawn as Latin letters: what it knows is both read through and refused."""

from __future__ import annotations

import string
import unicodedata

import pytest

from harkara.policy.disguise import disguise
from harkara.policy.lookalikes import (
    DRESSED,
    ENCLOSED,
    FOREIGN,
    INNOCENT,
    LOOKALIKES,
    NATIVE,
    OVERLAID,
    OVERLAYS,
    RAISED,
    SMALL_CAPITALS,
    SUSPICIOUS,
    WIDE,
)
from harkara.policy.optout import normalised


@pytest.mark.req("CMP-1", "CMP-11")
def test_what_is_read_as_a_latin_letter_is_suspicious_unless_it_has_a_use_of_its_own() -> None:
    assert set(LOOKALIKES.values()) <= set(string.ascii_letters)
    assert {char for char in map(chr, LOOKALIKES) if ord(char) < 0x250} == NATIVE
    assert {chr(code) for code in LOOKALIKES} - SUSPICIOUS - INNOCENT == NATIVE


@pytest.mark.req("CMP-1", "CMP-11")
def test_each_is_read_as_its_letter() -> None:
    assert [char for char, letter in LOOKALIKES.items() if normalised(f"x{chr(char)}x") != f"x{letter.lower()}x"] == []


@pytest.mark.req("CMP-11")
def test_none_of_them_makes_a_word_look_latin() -> None:
    """Among Latin letters one that another script has, or three of a dress."""
    for char in {*map(chr, LOOKALIKES), *DRESSED} - INNOCENT - NATIVE:
        found = disguise(f"buy{char * 3}")
        assert found is not None and (found.code, found.positions) == ("content_disguised", (1,)), ascii(char)


@pytest.mark.req("CMP-11")
def test_one_of_another_script_among_latin_letters_is_enough() -> None:
    for char in (set(FOREIGN) & set(map(chr, LOOKALIKES))) | WIDE:
        assert disguise(f"bu{char}") is not None, ascii(char)
        assert disguise(f"b{char}") is None, "of two letters many a unit is"


def test_words_of_one_script_are_that_scripts() -> None:
    for word in ("раура", "ΡΑΥ", "ՍՕՏ", "ᎪᏞᎬ", "ꓖꓴꓮ"):
        assert disguise(f"{word} now") is None


def test_a_word_of_raised_letters_is_one_and_the_end_of_an_abbreviation_is_none() -> None:
    for char in RAISED:
        assert disguise(char * 3) is not None and disguise(char * 2) is None, ascii(char)
        assert disguise(f"M{char * 3}") is None and normalised(f"x{char}y")[1] in string.ascii_lowercase, ascii(char)


def test_what_has_a_use_of_its_own_is_left_alone_but_not_in_a_word_of_others() -> None:
    for char in INNOCENT:
        assert disguise(char * 4) is None and disguise(f"ab{char}c") is None, ascii(char)
        assert char not in DRESSED or disguise(f"{char}🆄🆈") is not None, ascii(char)


@pytest.mark.parametrize(
    ("first", "last"),
    [(0x370, 0x3FF), (0x1F00, 0x1FFF), (0x400, 0x52F), (0x530, 0x58F), (0x13A0, 0x13FF), (0xAB70, 0xABBF),
     (0xA4D0, 0xA4FF)],
)  # fmt: skip
def test_a_script_is_its_blocks(first: int, last: int) -> None:
    script = FOREIGN[chr(first)]
    assert all(FOREIGN[chr(code)] == script for code in range(first, last + 1))
    assert all(FOREIGN.get(chr(code)) != script for code in (first - 1, last + 1) if code != 0x1EFF)


def test_the_dresses_are_whole_alphabets() -> None:
    assert len(SMALL_CAPITALS) == 25 and len(ENCLOSED) == 7 * 26 and len(WIDE) == 52
    for letter in string.ascii_lowercase:
        worn = [char for char in DRESSED if unicodedata.normalize("NFKC", char).lower() == letter]
        assert len(worn) >= 12, letter
    assert {"⒜", "⒵", "Ⓐ", "Ⓩ", "ⓐ", "ⓩ", "🄐", "🄩", "🄰", "🅉", "🅐", "🅩", "🅰", "🆉"} <= set(ENCLOSED)
    assert {"\U0001d400", "\U0001d7ff", "ℂ", "ℊ", "ℹ", "Ａ", "Ｚ", "ａ", "ｚ"} <= DRESSED
    assert not {"\U0001d3ff", "\U0001d800", "ª", "º", "™", "℃", "１", "🆊", "🆎"} & SUSPICIOUS
    assert not {"²", "₂", "ˈ", "⓪", "⒛", "\U0001f12a", "\U0001f14a", "\U0001f16a", "＠", "［", "｀", "｛"} & SUSPICIOUS


def test_a_mark_that_strikes_through_is_one_that_is_passed_over_in_reading() -> None:
    struck = "0334 0335 0336 0337 0338 20D2 20D3 20D8 20D9 20DA 20DD 20DE 20DF 20E0 20E1 20E2 20E4 20E5 20E6 20EA 20EB"
    assert {f"{ord(mark):04X}" for mark in OVERLAYS} == set(struck.split())
    assert OVERLAYS < OVERLAID
    assert {unicodedata.category(mark)[0] for mark in OVERLAYS} == {"M"}
