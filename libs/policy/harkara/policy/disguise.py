"""Text that is made to look like something else (CMP-11): characters that show nothing, words taken apart, letters of
another script or in another dress. Positions are counted from 1. No regular expression; linear in the text.

Writing that needs invisible characters keeps them: joiners inside Indic and Arabic words and in emoji, selectors after
symbols, direction marks in texts that run from right to left, the tags of a flag. So does writing that has wide letters
(East Asian), words of one letter or syllable, phonetic letters, abbreviations with dots or slashes, lists of letters,
units and gene names with a Greek letter, struck-out prices with what they are called.

Not found, since one text alone does not tell it: a word wholly of another script's letters (it may be that script's).
A text that repeats a template's wording, whole or in pieces over several messages, is found where the templates are
known: by the router (`wordings`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby, pairwise
from string import ascii_uppercase, digits
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
LONGEST_GENE = 4  # capitals before the Greek letter: PPARγ
FURTHEST_PRICE = 6  # characters between a price and what it is called, marks among them
LONGEST_GROUP = 4  # letters of an abbreviation: M.B.B.S.; a longer one is a word
FEWEST_UNDOTTED = 2  # of its gaps; fewer are abbreviations with dots: M.B.B.S., M.D.
LONGEST_LABEL = 8  # letters of a word that may be struck through with its price: Original
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
GENE_SIGNS = frozenset(ascii_uppercase + digits)
AFTER_OHMS = ("", "m", "cm")
MICRO_UNITS = frozenset("mol Sv kat Gy IU Osm Bq Hz Pa rad bar eq Eq val gal".split())
"""Units of two letters and more that are measured in millionths, besides those of one (V, m, g): μmol, μSv."""
GENE_ENDINGS = "αβγδεζηθκλμσω"
"""Greek letters at the end of a protein's name: IFNγ. Not among them those drawn as the Latin letter: ι, ν, ο, ρ, υ."""
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
        struck = _struck(word) >= FEWEST_DRESSED and not _names_a_price(text, start, start + len(word))
        if struck or _is_disguised(word, WIDE if wide_is_plain else frozenset()):
            yield start + 1


def _is_east_asian(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in EAST_ASIAN)


def _is_disguised(word: str, plain: frozenset[str]) -> bool:
    """`plain`: characters that are no dress where they stand."""
    letters = [char for char in word if char.isalpha() or char in DRESSED or char in FOREIGN]
    scripts = {_script(char) for char in letters if char not in plain} - {""}
    if len(letters) >= FEWEST_DRESSED and len(scripts) > 1 and not _has_its_greek(word):
        return True
    dressed = [char for char in word if char in DRESSED and char not in plain]
    if len(dressed) >= FEWEST_DRESSED and not INNOCENT.issuperset(dressed):
        return True
    return "latin" not in scripts and sum(char in RAISED for char in word) >= FEWEST_DRESSED


def _has_its_greek(word: str) -> bool:
    """Whether its one Greek letter is written so by everybody: in units (5μmol, kΩm) and at the end of gene names."""
    bare = word.lstrip("0123456789")
    if bare[:1] == "μ":
        return bare[1:] in MICRO_UNITS
    before, ohm, after = bare.partition("Ω")
    if ohm:
        return before in ("", "m", "k", "M", "G") and after in AFTER_OHMS
    name = bare[:-1]
    capitals = sum(char in ascii_uppercase for char in name)
    return bare[-1:] in GENE_ENDINGS and capitals <= LONGEST_GENE and all(c in GENE_SIGNS for c in name)


def _names_a_price(text: str, start: int, end: int) -> bool:
    """Whether a short struck-out word stands before or after an amount: a currency sign, or digits struck out too."""
    if sum(char.isalpha() for char in text[start:end]) > LONGEST_LABEL:
        return False
    after = _next_shown(text, range(end, min(len(text), end + FURTHEST_PRICE)))
    before = _next_shown(text, range(start - 1, max(-1, start - 1 - FURTHEST_PRICE), -1))
    return any(at is not None and _is_an_amount(text, at) for at in (before, after))


def _next_shown(text: str, places: range) -> int | None:
    """The first place with more than a space, a mark or a colon."""
    passed = (at for at in places if unicodedata.category(text[at])[0] != "M" and text[at] not in " \u00a0:.-")
    return next(passed, None)


def _is_an_amount(text: str, at: int) -> bool:
    struck = text[at + 1 : at + 2] in OVERLAYS
    return unicodedata.category(text[at]) == "Sc" or (text[at].isdigit() and struck)


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

    One and the same separator throughout, or several, unless nearly all of them begin with a dot (abbreviations) or
    they are those of a list.
    """
    if text.isascii() and text.encode().translate(_KINDS).split().count(b"a") < FEWEST_APART:
        return 0  # so few letters stand alone that nothing is taken apart
    for places, gaps in _runs(text):
        if (first := _one_separator(gaps)) is not None:
            return places[first] + 1
        undotted = sum(gap[0] != "." for gap in gaps)
        if len(places) >= FEWEST_MIXED and undotted >= FEWEST_UNDOTTED and not _is_a_list(gaps):
            return places[0] + 1
    return 0


def _runs(text: str) -> Iterator[tuple[list[int], list[str]]]:
    """(where its letters stand, from 0; what is between each two): of letters that separators keep apart."""
    places: list[int] = []
    gaps: list[str] = []
    for before, place in pairwise(place for place in range(len(text)) if _alone(text, place)):
        between = "".join(char for char in text[before + 1 : place] if unicodedata.category(char)[0] != "M")
        if not _separates(between):
            if gaps:
                yield places, gaps
            places, gaps = [], []
            continue
        places = places or [before]
        places.append(place)
        gaps.append(between)
    if gaps:
        yield places, gaps


def _one_separator(gaps: list[str]) -> int | None:
    """The first of so many letters that one separator keeps apart that they are a word."""
    first = 0
    for _, group in groupby(gaps):
        count = sum(1 for _ in group)
        if count + 1 >= FEWEST_APART:
            return first
        first += count
    return None


def _is_a_list(gaps: list[str]) -> bool:
    """Whether letters that several separators keep apart are abbreviations or single answers one after the other, not
    a word: C/O S/O D/O, N/A, N/A, B.A / M.A, A, B+, A.

    A space ends each; inside there is one sign throughout. Where a space alone is between some, each is of two
    letters and more: nobody writes `g u.a r.a n.t e` for a list. Where there is no comma they are pairs with a slash,
    or what stands between them is a sign too, and always the same.
    """
    inside: list[list[str]] = [[]]
    outside: list[str] = []
    for gap in gaps:
        if any(map(str.isspace, gap)):
            outside.append(gap)
            inside.append([])
        else:
            inside[-1].append(gap)
    if any(len(each) >= LONGEST_GROUP or len(set(each)) > 1 for each in inside):
        return False
    if outside and all("," in gap for gap in outside):
        return True
    if not all(inside):
        return False
    signs = {each[0] for each in inside}
    between = set(outside)
    if signs == {"/"} or any("," in gap for gap in between):
        return True
    return len(signs) == len(between) == 1 and not any(map(str.isspace, between))


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
