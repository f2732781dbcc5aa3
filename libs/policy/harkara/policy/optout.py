"""Opting out and in by a word (CMP-1): deterministic, before anything else, and with no regular expression.

A text is an opt-out when, normalised, the whole of it is one of the words, or when it contains the phrase
"stop all" with nothing but the ends of the text or a character that is no letter, digit or mark around it.

"please stop" is none (not the whole text). "don't stop all the music" is one: the phrase stands there on its own, the
rule reads no grammar, and a wrong opt-out costs one START, which its confirmation asks for at once, while a wrong
refusal costs a message to somebody who said no. "nonstop allure" is none: the phrase does not stand on its own.

Normalising takes time in proportion to the text, and at most LONGEST_READ characters of it are looked at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

Word = Literal["opt_out", "opt_in"]
Tongue = Literal["en", "pt", "hi", "mr"]

LONGEST_READ = 4096  # characters; Meta's own limit of a text, so that a longer one costs no more
OPT_OUT_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"stop", "stopall", "stop all", "cancel", "optout", "opt out", "opt-out", "unsubscribe"}),
    "pt": frozenset({"parar", "parar tudo", "sair", "cancelar"}),
    "hi": frozenset({"रोकें", "रोको", "बंद करें", "बंद करो", "बंद", "रद्द करें", "सदस्यता समाप्त करें"}),
    "mr": frozenset({"थांबवा", "थांबा", "बंद करा", "रद्द करा", "सदस्यत्व रद्द करा"}),
}
OPT_IN_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"start", "unstop", "optin", "opt in", "opt-in", "subscribe"}),
    "pt": frozenset({"iniciar", "começar", "inscrever"}),
    "hi": frozenset({"शुरू करें", "शुरू करो", "शुरू"}),
    "mr": frozenset({"सुरू करा", "सुरू"}),
}
BUILT_IN_OPT_OUT_WORDS: frozenset[str] = frozenset().union(*OPT_OUT_WORDS.values())
BUILT_IN_OPT_IN_WORDS: frozenset[str] = frozenset().union(*OPT_IN_WORDS.values())
PHRASES = ("stop all",)
INVISIBLE = frozenset(map(chr, (*range(0xFE00, 0xFE10), 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164)))
"""Characters that show nothing but count as letters or marks: variation selectors, joiner, fillers."""


LOOKALIKES: dict[int, str] = {
    ord(other): latin
    for latin, others in {
        # a letter of Cyrillic, Greek, Armenian, Cherokee or Lisu that is drawn as the Latin one, by its own case
        "A": "АΑᎪꓮ", "B": "ВΒᏴꓐ", "C": "СϹᏟꓚ", "E": "ЕΕᎬꓰ", "H": "НΗᎻꓧ", "I": "ІΙӀꓲ", "J": "ЈᎫꓙ", "K": "КΚᏦꓗ",
        "L": "ᏞꓡԼ", "M": "МΜᎷꓟ", "N": "ΝꓠՍ", "O": "ОΟՕꓳ", "P": "РΡᏢꓑ", "R": "ᎡᏒꓣ", "S": "ЅՏᏚꓢ", "T": "ТΤᎢꓔ",
        "U": "ԱՍꓴ", "V": "ѴᏙꓦ", "X": "ХΧꓫ", "Y": "УΥҮꓬ", "Z": "ΖᏃꓜ",
        "a": "аαɑ", "b": "ЬƄ", "c": "сϲ", "d": "ԁɗ", "e": "еεҽ", "g": "ɡց", "h": "һհ", "i": "іιıӏ", "j": "јϳ",
        "k": "кκ", "l": "ⅼǀ", "m": "м", "n": "пηո", "o": "оοօ", "p": "рρ", "r": "гᴦ", "s": "ѕꜱ", "t": "тτ",
        "u": "υսᴜ", "v": "ѵν", "x": "хχ", "y": "уүγ", "z": "ᴢ",
    }.items()
    for other in others
}  # fmt: skip
"""The characters that people cannot tell from Latin letters, or only by looking twice: phones write them unasked after
a change of keyboard, and others on purpose."""
OVERLAID = frozenset(
    map(chr, (*range(0x0300, 0x0370), *range(0x1AB0, 0x1B00), *range(0x1DC0, 0x1E00), *range(0x20D0, 0x2100)))
)
"""Marks that decorate a letter (accents, strokes through it). Devanagari's vowel signs are others: they are letters."""


def normalised(text: str) -> str:
    """NFKC, look-alikes of Latin letters made Latin, case folded, without accents and invisible characters, white space
    made single, punctuation cut off both ends."""
    wide = unicodedata.normalize("NFKC", text[:LONGEST_READ]).translate(LOOKALIKES).casefold()
    # taken apart, so that an accent is a mark of its own; folding may have put marks and capitals in (Cherokee's do)
    apart = unicodedata.normalize("NFKD", wide).translate(LOOKALIKES).casefold()
    visible = "".join(char for char in apart if _shown(char))
    # folding can leave a text that is not composed any more, and composing is what makes equal texts equal
    words = " ".join(unicodedata.normalize("NFKC", visible).split())
    return _trimmed(words)


def _shown(char: str) -> bool:
    """Format characters (zero-width ones among them) and controls are not; white space separates words."""
    if char.isspace():
        return True
    return unicodedata.category(char) not in ("Cf", "Cc") and char not in INVISIBLE and char not in OVERLAID


def _trimmed(text: str) -> str:
    start, end = 0, len(text)
    while start < end and not _of_a_word(text[start]):
        start += 1
    while end > start and not _of_a_word(text[end - 1]):
        end -= 1
    return text[start:end]


def _of_a_word(char: str) -> bool:
    """Letters, digits and marks: Devanagari's vowel signs are marks and end words."""
    return unicodedata.category(char)[0] in "LNM"


class Keywords:
    """The words in force: the built-in ones and those that the policy adds."""

    def __init__(self, added_opt_out_words: Iterable[str] = ()) -> None:
        self._opt_out = {normalised(word) for word in BUILT_IN_OPT_OUT_WORDS}
        self._opt_out |= {normalised(word) for word in added_opt_out_words} - {""}
        self._opt_in = {normalised(word) for word in BUILT_IN_OPT_IN_WORDS} - self._opt_out

    def read(self, text: str | None) -> Word | None:
        """What a person said with this text, if it is one of the words. Opting out wins over everything."""
        if text is None:
            return None
        plain = normalised(text)
        if plain in self._opt_out or any(_stands_in(phrase, plain) for phrase in PHRASES):
            return "opt_out"
        return "opt_in" if plain in self._opt_in else None


def _stands_in(phrase: str, text: str) -> bool:
    """Whether the phrase is in the text on word boundaries; linear in the text."""
    at = text.find(phrase)
    while at != -1:
        end = at + len(phrase)
        if (at == 0 or not _of_a_word(text[at - 1])) and (end == len(text) or not _of_a_word(text[end])):
            return True
        at = text.find(phrase, at + 1)
    return False
