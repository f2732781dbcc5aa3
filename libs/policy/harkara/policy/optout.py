"""Opting out and in by a word (CMP-1): deterministic, before anything else, and with no regular expression.

A text is an opt-out when, normalised, the whole of it is one of the words, or when it contains the phrase
"stop all" with nothing but the ends of the text or a character that is no letter, digit or mark around it. Of the
built-in words punctuation may take the place of the spaces ("stop-all", "stop, all"), where they are the whole text;
of the policy's not: "no, more" is not its "no more".

"please stop" is none (not the whole text). "don't stop all the music" is one: the phrase stands there on its own, the
rule reads no grammar, and a wrong opt-out costs one START, which its confirmation asks for at once, while a wrong
refusal costs a message to somebody who said no. "nonstop allure" is none: the phrase does not stand on its own.

Normalising takes time in proportion to the text, and at most LONGEST_READ characters of it are looked at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

from harkara.policy.lookalikes import INVISIBLE, LOOKALIKES, OVERLAID

Word = Literal["opt_out", "opt_in"]
Tongue = Literal["en", "pt", "hi", "mr"]

LONGEST_READ = 4096  # characters; Meta's own limit of a text, so that a longer one costs no more
OPT_OUT_WORDS: Mapping[Tongue, frozenset[str]] = {
    # स्टॉप is English in Devanagari letters, and does not tell in which of its languages to answer
    "en": frozenset({"stop", "stopall", "stop all", "cancel", "optout", "opt out", "opt-out", "unsubscribe", "स्टॉप"}),
    "pt": frozenset({"parar", "parar tudo", "sair", "cancelar"}),
    # रुको, रुकें and थांब also say "wait" in a conversation: who writes that and nothing else to a sender of messages is
    # taken at the stricter meaning, and told how to come back; in a longer text they are no opt-out
    "hi": frozenset({"रोकें", "रोको", "रुकें", "रुको", "बंद करें", "बंद करो", "बंद कर", "बंद", "रद्द करें", "सदस्यता समाप्त करें"}),
    "mr": frozenset({"थांबवा", "थांबव", "थांबा", "थांब", "बंद करा", "रद्द करा", "सदस्यत्व रद्द करा"}),
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
VIRAMA, ANUSVARA, CHANDRABINDU = "\u094d", "\u0902", "\u0901"
CLUSTERS = {
    nasal + VIRAMA + consonant: ANUSVARA + consonant
    for nasal, consonants in {"ङ": "कखगघ", "ञ": "चछजझ", "ण": "टठडढ", "न": "तथदध", "म": "पफबभ"}.items()
    for consonant in consonants
}
"""Devanagari writes a nasal before a consonant of its own place of speech in two ways: बन्द is बंद."""
LONGEST_SPACED = 64  # characters of a text whose punctuation may stand for spaces


def normalised(text: str) -> str:
    """NFKC, look-alikes of Latin letters made Latin, case folded, without accents and invisible characters,
    Devanagari's nasals in one spelling, white space made single, punctuation cut off both ends."""
    # letters in brackets before NFKC, which takes the brackets for signs of their own
    bare = text[:LONGEST_READ].translate(LOOKALIKES)
    wide = unicodedata.normalize("NFKC", bare).translate(LOOKALIKES).casefold()
    # taken apart, so that an accent is a mark of its own; folding may have put marks and capitals in (Cherokee's do)
    apart = unicodedata.normalize("NFKD", wide).translate(LOOKALIKES).casefold()
    visible = "".join(char for char in apart if _shown(char))
    # folding can leave a text that is not composed any more, and composing is what makes equal texts equal
    words = " ".join(unicodedata.normalize("NFKC", visible).split())
    return _trimmed(one_spelling(words))


def spaced(plain: str) -> str:
    """A normalised text with spaces for its punctuation and signs (`stop-all`, `stop, all`); letters that stand there
    one by one are a word (`s t o p`). Empty where it is longer than any word of ours."""
    if len(plain) > LONGEST_SPACED:
        return ""
    parts = "".join(char if _of_a_word(char) else " " for char in plain).split()
    return ("" if all(len(part) == 1 for part in parts) else " ").join(parts)


def one_spelling(text: str) -> str:
    """The text with Devanagari's nasals written in one way."""
    text = text.replace(CHANDRABINDU, ANUSVARA)
    if VIRAMA in text:
        for cluster, written in CLUSTERS.items():
            text = text.replace(cluster, written)
    return text


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
        self._spaced = {spaced(word) for word in self._opt_out}
        self._opt_out |= {normalised(word) for word in added_opt_out_words} - {""}
        self._opt_in = {normalised(word) for word in BUILT_IN_OPT_IN_WORDS} - self._opt_out

    def read(self, text: str | None) -> Word | None:
        """What a person said with this text, if it is one of the words. Opting out wins over everything."""
        if text is None:
            return None
        plain = normalised(text)
        if plain in self._opt_out or spaced(plain) in self._spaced or any(_stands_in(each, plain) for each in PHRASES):
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
