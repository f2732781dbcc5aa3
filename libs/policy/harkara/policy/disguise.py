"""Text that is made to look like something else (CMP-11): characters that show nothing, words taken apart, letters of
another script. Positions are counted from 1. No regular expression; linear in the text.

Writing that needs invisible characters keeps them: joiners inside Indic and Arabic words and in emoji, selectors after
symbols, direction marks in texts that run from right to left, the tags of a flag.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from harkara.policy.optout import INVISIBLE

MOST_POSITIONS = 10  # that are told; who mends ten sees the others
FEWEST_APART = 6  # single letters in a row before they are a word taken apart: A B C D E names answers
FEWEST_STYLED = 3  # mathematical letters in a word; one or two are mathematics

BLANK = INVISIBLE | frozenset({"\u2800", "\uffa0", "\u180b", "\u180c", "\u180d", "\u180f"})
"""Letters, marks and signs that show nothing: fillers, the empty Braille cell, Mongolian selectors."""
SHOWN_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format characters that do show: Arabic, Syriac and Kaithi signs around numbers and names."""
JOINERS = "\u200c\u200d"
DIRECTIONS = "\u200e\u200f\u061c"
SELECTORS = "\ufe0e\ufe0f"
BLACK_FLAG = "\U0001f3f4"
LONGEST_FLAG = 8  # tags after the flag: a country, a region and the end
LONGEST_NAME = 64  # of a placeholder
SEPARATORS = ".-_*·•|/\\+~,'"


_KINDS = bytes(ord("a" if chr(c).isalpha() else "0" if chr(c).isdigit() else " ") for c in range(128)) + bytes(128)
"""ASCII's letters, digits and all else."""


class Finding(NamedTuple):
    """What is wrong with a text, for machines and for people, and where."""

    code: str
    text: str
    positions: tuple[int, ...]


def disguise(text: str) -> Finding | None:
    """The first disguise found, or None."""
    hidden = () if text.isascii() and text.isprintable() else tuple(_hidden(text))
    if hidden:
        return Finding("content_invisible", "has characters that show nothing", hidden[:MOST_POSITIONS])
    if not text.isascii() and (mixed := tuple(_disguised_words(text))):
        return Finding("content_disguised", "has words of look-alike letters", mixed[:MOST_POSITIONS])
    if apart := _taken_apart(text):
        return Finding("content_split", "has a word taken apart into single letters", (apart,))
    if opened := _placeholder(text):
        return Finding("content_placeholder", "has a placeholder of a template that nobody filled in", (opened,))
    return None


def _hidden(text: str) -> Iterator[int]:
    leftward = any(unicodedata.bidirectional(char) in ("R", "AL") and char.isalpha() for char in text)
    for place, char in enumerate(text):
        if char in BLANK and not (char in SELECTORS and _after_symbol(text, place)):
            yield place + 1
        elif unicodedata.category(char) == "Cf" and char not in SHOWN_FORMATS:
            if not _needed(text, place, leftward):
                yield place + 1
        elif unicodedata.category(char) == "Cc" and char not in "\n\r\t":
            yield place + 1


def _needed(text: str, place: int, leftward: bool) -> bool:
    """Whether writing needs this format character where it stands."""
    char = text[place]
    if char in JOINERS:
        return _joins(text, place)
    if char in DIRECTIONS:
        return leftward
    return 0xE0020 <= ord(char) <= 0xE007F and _tags_a_flag(text, place)


def _joins(text: str, place: int) -> bool:
    """Between two characters of a script without capitals, or of an emoji."""
    if not 0 < place < len(text) - 1:
        return False
    before, after = unicodedata.category(text[place - 1]), unicodedata.category(text[place + 1])
    in_word = before in ("Lo", "Mn", "Mc") and after in ("Lo", "Mn", "Mc")
    in_emoji = (before in ("So", "Sk") or text[place - 1] in SELECTORS) and after == "So"
    return in_word or in_emoji


def _after_symbol(text: str, place: int) -> bool:
    return place > 0 and unicodedata.category(text[place - 1]) in ("So", "Sm", "Sk", "Po", "Nd", "Sc", "Pd")


def _tags_a_flag(text: str, place: int) -> bool:
    first = max(0, place - LONGEST_FLAG)
    return BLACK_FLAG in text[first:place] and all(
        0xE0020 <= ord(char) <= 0xE007F for char in text[text.rindex(BLACK_FLAG, first, place) + 1 : place]
    )


def _disguised_words(text: str) -> Iterator[int]:
    """Where words begin that mix Latin with Cyrillic or Greek letters, or are of mathematical letters."""
    for start, word in _words(text):
        scripts = {_script(char) for char in word}
        mixed = "latin" in scripts and bool(scripts & {"cyrillic", "greek"}) and len(word) >= FEWEST_STYLED
        if mixed or sum(0x1D400 <= ord(char) <= 0x1D7FF for char in word) >= FEWEST_STYLED:
            yield start + 1


def _words(text: str) -> Iterator[tuple[int, str]]:
    start = None
    for place, char in enumerate(text + " "):
        if char.isalnum():
            start = place if start is None else start
        elif start is not None:
            yield start, text[start:place]
            start = None


def _script(char: str) -> str:
    code = ord(char)
    if 0x370 <= code <= 0x3FF or 0x1F00 <= code <= 0x1FFF:
        return "greek"
    if 0x400 <= code <= 0x52F:
        return "cyrillic"
    return "latin" if char.isalpha() and (code < 0x250 or 0x1E00 <= code <= 0x1EFF) else "other"


def _taken_apart(text: str) -> int:
    """Where (from 1) a run of single letters begins that one and the same separator keeps apart; 0: nowhere."""
    if text.isascii() and text.encode().translate(_KINDS).split().count(b"a") < FEWEST_APART:
        return 0  # so few letters stand alone that nothing is taken apart
    letters = [place for place, char in enumerate(text) if char.isalpha() and _alone(text, place)]
    run, start, gap = 0, 0, ""
    for before, place in pairwise(letters):
        between = text[before + 1 : place]
        between = "".join(char for char in between if unicodedata.category(char)[0] != "M")
        if not _separates(between):
            run = 0
        elif run and between == gap:
            run += 1
        else:
            run, start, gap = 2, before, between
        if run >= FEWEST_APART:
            return start + 1
    return 0


def _separates(between: str) -> bool:
    return 1 <= len(between) <= 3 and all(char.isspace() or char in SEPARATORS for char in between)


def _alone(text: str, place: int) -> bool:
    """Whether no letter or digit stands beside it, marks left out of account."""
    if place > 0 and (text[place - 1].isalnum() or unicodedata.category(text[place - 1])[0] == "M"):
        return False
    after = place + 1
    while after < len(text) and unicodedata.category(text[after])[0] == "M":
        after += 1
    return after == len(text) or not text[after].isalnum()


def _placeholder(text: str) -> int:
    """Where (from 1) `{{name}}` or `{{1}}` stands; 0: nowhere."""
    at = text.find("{{")
    while at != -1:
        end = text.find("}}", at, at + LONGEST_NAME + 6)
        name = text[at + 2 : end].strip() if end != -1 else ""
        if name and name.replace("_", "a").isalnum():
            return at + 1
        at = text.find("{{", at + 1)
    return 0
