"""Text that is made to look like something else (CMP-11): characters that show nothing, words taken apart, letters of
another script or in another dress. Positions are counted from 1. No regular expression; linear in the text.

Writing that needs invisible characters keeps them: joiners inside Indic and Arabic words and in emoji, selectors after
symbols, direction marks in texts that run from right to left, the tags of a flag. So does writing that has wide letters
(East Asian), words of one letter or syllable, phonetic letters, abbreviations with dots, struck-out prices.

Not found, since one text alone does not tell it: a word wholly of another script's letters (it may be that script's),
a text spread over several messages, a free-form text that repeats a template's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from harkara.policy.lookalikes import (
    DRESSED,
    FOREIGN,
    INNOCENT,
    INVISIBLE,
    OVERLAID,
    OVERLAYS,
    RAISED,
    SUSPICIOUS,
    WIDE,
)

MOST_POSITIONS = 10  # that are told; who mends ten sees the others
FEWEST_APART = 6  # single letters in a row before they are a word taken apart: A B C D E names answers
FEWEST_MIXED = 8  # where the separators differ: A/B C/D E/F names answers
FEWEST_UNDOTTED = 2  # of its gaps; fewer are abbreviations with dots: M.B.B.S., M.D.
FEWEST_DRESSED = 3  # mathematical letters in a word, and what is like them; one or two are mathematics

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
NAME_SIGNS = "_-. #$@/|:"  # in a placeholder's name, besides letters and digits
EAST_ASIAN = ((0x3040, 0x31FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xFF66, 0xFFDC))  # letters and characters


_KINDS = bytes(ord("a" if chr(c).isalpha() else "0" if chr(c).isdigit() else " ") for c in range(128)) + bytes(128)
"""ASCII's letters, digits and all else."""


class Finding(NamedTuple):
    """What is wrong with a text, for machines and for people, and where."""

    code: str
    text: str
    positions: tuple[int, ...]


def disguise(text: str, *, east_asian: bool = False) -> Finding | None:
    """The first disguise found, or None. `east_asian`: the text is said to be Chinese, Japanese or Korean."""
    hidden = () if text.isascii() and text.isprintable() else tuple(_hidden(text))
    if hidden:
        return Finding("content_invisible", "has characters that show nothing", hidden[:MOST_POSITIONS])
    if not text.isascii() and (mixed := tuple(_disguised_words(text, east_asian))):
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


def _disguised_words(text: str, east_asian: bool) -> Iterator[int]:
    """Where words begin that mix the letters of scripts that look alike, or are of letters in another dress."""
    if SUSPICIOUS.isdisjoint(text):
        return
    wide_is_plain = not WIDE.isdisjoint(text) and (east_asian or any(map(_is_east_asian, text)))
    for start, word in _words(text):
        if _is_disguised(word, WIDE if wide_is_plain else frozenset()):
            yield start + 1


def _is_east_asian(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in EAST_ASIAN)


def _is_disguised(word: str, plain: frozenset[str]) -> bool:
    """`plain`: characters that are no dress where they stand."""
    letters = [char for char in word if char.isalpha() or char in DRESSED or char in FOREIGN]
    scripts = {_script(char) for char in letters if char not in plain} - {""}
    if len(letters) >= FEWEST_DRESSED and len(scripts) > 1:
        return True
    dressed = [char for char in word if char in DRESSED and char not in plain]
    if len(dressed) >= FEWEST_DRESSED and not INNOCENT.issuperset(dressed):
        return True
    if "latin" not in scripts and sum(char in RAISED for char in word) >= FEWEST_DRESSED:
        return True
    return _struck(word) >= FEWEST_DRESSED


def _struck(word: str) -> int:
    """How many marks strike its letters through; a price that is struck out is of digits."""
    found, on_letter = 0, False
    for char in word:
        if unicodedata.category(char)[0] == "M":
            found += on_letter and char in OVERLAYS
        else:
            on_letter = char.isalpha()
    return found


def _words(text: str) -> Iterator[tuple[int, str]]:
    """(where it starts, from 0; the word): of letters, digits and the marks on them."""
    start = None
    for place, char in enumerate(text + " "):
        if _of_a_word(char):
            start = place if start is None else start
        elif start is not None and unicodedata.category(char)[0] != "M":
            yield start, text[start:place]
            start = None


def _of_a_word(char: str) -> bool:
    return char.isalnum() or char in DRESSED


def _script(char: str) -> str:
    """Latin, or one that has letters like the Latin ones; empty: any other, and what stands for itself in a text."""
    if (script := FOREIGN.get(char)) is not None:
        return script
    code = ord(char)
    return "latin" if char.isalpha() and (code < 0x250 or 0x1E00 <= code <= 0x1EFF) else ""


def _taken_apart(text: str) -> int:
    """Where (from 1) a run of single letters begins that separators keep apart; 0: nowhere.

    One and the same separator throughout, or several, unless nearly all of them begin with a dot (abbreviations).
    """
    if text.isascii() and text.encode().translate(_KINDS).split().count(b"a") < FEWEST_APART:
        return 0  # so few letters stand alone that nothing is taken apart
    run = same = undotted = start = same_start = 0
    gap = ""
    for before, place in pairwise(place for place in range(len(text)) if _alone(text, place)):
        between = "".join(char for char in text[before + 1 : place] if unicodedata.category(char)[0] != "M")
        if not _separates(between):
            run, gap = 0, ""
            continue
        run, start, undotted = (run + 1, start, undotted) if run else (2, before, 0)
        same, same_start = (same + 1, same_start) if between == gap else (2, before)
        gap = between
        undotted += between[0] != "."
        if same >= FEWEST_APART:
            return same_start + 1
        if run >= FEWEST_MIXED and undotted >= FEWEST_UNDOTTED:
            return start + 1
    return 0


def _separates(between: str) -> bool:
    return 1 <= len(between) <= 3 and all(char.isspace() or char in SEPARATORS for char in between)


def _alone(text: str, place: int) -> bool:
    """Whether a letter stands here and no letter or digit beside it. A letter with a vowel sign is a syllable, and many
    a word of Hindi or Marathi; so is a character of Chinese, Japanese or Korean."""
    if place > 0 and (_of_a_word(text[place - 1]) or unicodedata.category(text[place - 1])[0] == "M"):
        return False  # most letters
    char, after = text[place], place + 1
    if not (char.isalpha() or char in DRESSED) or _is_east_asian(char):
        return False
    while after < len(text) and unicodedata.category(text[after])[0] == "M":
        if text[after] not in OVERLAID and text[after] not in INVISIBLE:
            return False
        after += 1
    return after == len(text) or not _of_a_word(text[after])


def _placeholder(text: str) -> int:
    """Where (from 1) `{{name}}` or `{{1}}` stands; 0: nowhere."""
    at = text.find("{{")
    while at != -1:
        end = text.find("}}", at, at + LONGEST_NAME + 6)
        name = text[at + 2 : end].strip() if end != -1 else ""
        if any(map(str.isalnum, name)) and all(map(_of_a_name, name)):
            return at + 1
        at = text.find("{{", at + 1)
    return 0


def _of_a_name(char: str) -> bool:
    return char.isalnum() or char in NAME_SIGNS or unicodedata.category(char)[0] == "M"
