"""Which characters a word may be decorated with and still be read, and how much of a text is read for it (CMP-1)."""

from __future__ import annotations

import pytest

from harkara.policy.disguise import disguise
from harkara.policy.lookalikes import INVISIBLE, OVERLAID
from harkara.policy.optout import LONGEST_READ, Keywords, normalised


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    ("first", "last"),
    [(0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF)],
    ids=["diacritical marks", "extended", "supplement", "for symbols"],
)
def test_a_mark_of_a_block_that_only_decorates_is_passed_over_and_its_neighbours_are_not(first: int, last: int) -> None:
    for code in (first, last):
        assert chr(code) in OVERLAID
        assert Keywords().read(f"st{chr(code)}op") == "opt_out"
    for code in (first - 1, last + 1):
        assert chr(code) not in OVERLAID
        assert Keywords().read(f"st{chr(code)}op") is None


@pytest.mark.req("CMP-1", "CMP-11")
@pytest.mark.parametrize(
    ("first", "last"),
    [(0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x3164, 0x3164), (0xFE00, 0xFE0F)],
    ids=["grapheme joiner", "Hangul fillers", "Khmer inherent vowels", "Hangul filler", "variation selectors"],
)
def test_a_letter_that_shows_nothing_hides_no_word_and_is_no_part_of_a_message(first: int, last: int) -> None:
    for code in (first, last):
        assert Keywords().read(f"st{chr(code)}op") == "opt_out"
        found = disguise(f"a{chr(code)}b")
        assert found is not None and (found.code, found.positions) == ("content_invisible", (2,))
    for code in (first - 1, last + 1):
        assert chr(code) not in INVISIBLE
        found = disguise(f"a{chr(code)}b")
        assert found is None or found.code != "content_invisible"


@pytest.mark.req("CMP-1")
def test_a_text_is_read_as_far_as_meta_lets_one_be_written() -> None:
    assert LONGEST_READ == 4096
    longest = "so ".ljust(4096 - len(" stop all"), "x") + " stop all"
    assert Keywords().read(longest) == "opt_out"
    assert Keywords().read("x" + longest) is None, "its last letter is the 4097th"


@pytest.mark.parametrize("text", ["", " ", "!", "!?…", "\u200b", "\u0301"])
def test_a_text_without_a_letter_says_nothing(text: str) -> None:
    assert normalised(text) == ""
    assert Keywords().read(text) is None
    assert Keywords([text]).read("!") is None, "nor does the policy add a word with it"


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    "text", ["stop all", "stop all.", "(stop all)", "now stop all", "stop all now", "x. stop all, y"]
)
def test_the_phrase_stands_alone_at_either_end_and_between(text: str) -> None:
    assert Keywords().read(text) == "opt_out"


@pytest.mark.parametrize("text", ["nonstop all", "stop allure", "nonstop allure stop alls", "2stop all", "stop all2"])
def test_the_phrase_within_a_word_is_none(text: str) -> None:
    assert Keywords().read(text) is None
