"""What a person may tell us by one word (CMP-5): STOP, START, PAUSE [n days], RESUME, HELP, each in four languages.

Only the whole text counts, normalised as opt-outs are (the phrase rule, and punctuation in the place of spaces, are for
opting out alone), so that nobody is
paused for having written a sentence with the word in it. No regular expression: a text is split at spaces and looked
up, and no more of it is looked at than `optout.LONGEST_READ` characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from harkara.policy.optout import OPT_IN_WORDS, OPT_OUT_WORDS, Keywords, Tongue, normalised, spaced

Command = Literal["stop", "start", "pause", "resume", "help"]
TONGUES: tuple[Tongue, ...] = ("en", "pt", "hi", "mr")
LONGEST_PAUSE_DAYS = 365  # who asks for more means until further notice

PAUSE_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"pause", "snooze"}),
    "pt": frozenset({"pausar", "pausa"}),
    "hi": frozenset({"विराम", "पॉज़", "पॉज"}),
    "mr": frozenset({"विराम घ्या", "विराम द्या", "तात्पुरते थांबवा"}),
}
DAY_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"day", "days", "d"}),
    "pt": frozenset({"dia", "dias"}),
    "hi": frozenset({"दिन", "दिनों"}),
    "mr": frozenset({"दिवस", "दिवसांसाठी"}),
}
LINKING = frozenset({"for", "por", "के लिए"})
RESUME_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"resume", "unpause"}),
    "pt": frozenset({"retomar"}),
    "hi": frozenset({"जारी रखें", "जारी रखो", "फिर शुरू करें"}),
    "mr": frozenset({"सुरू ठेवा", "चालू ठेवा", "पुन्हा सुरू करा"}),
}
HELP_WORDS: Mapping[Tongue, frozenset[str]] = {
    "en": frozenset({"help", "info"}),
    "pt": frozenset({"ajuda"}),
    "hi": frozenset({"मदद", "सहायता"}),
    "mr": frozenset({"मदत", "साहाय्य"}),
}
STRICTEST_FIRST: tuple[Command, ...] = ("stop", "pause", "resume", "start", "help")


@dataclass(frozen=True, slots=True)
class Said:
    """A command. `tongue` is the language of its word where the word tells it: English words are written by everyone.
    `days`: of a pause, None until further notice."""

    command: Command
    tongue: Tongue | None = None
    days: int | None = None


class Commands:
    """The words in force: the built-in ones and the opt-out words that the policy adds, which win over any other."""

    def __init__(self, added_opt_out_words: Iterable[str] = ()) -> None:
        self._keywords = Keywords(added_opt_out_words)
        self._words: dict[str, Said] = {}
        for command, table in _TABLES:
            for word, tongue in _by_word(table).items():
                self._words[word] = Said(command, tongue)

    def read(self, *texts: str | None) -> Said | None:
        """The command that a message is, of its texts (what was written, a button's payload) the strictest."""
        said = [found for text in texts if text is not None and (found := self._one(text)) is not None]
        return min(said, key=lambda each: STRICTEST_FIRST.index(each.command), default=None)

    def _one(self, text: str) -> Said | None:
        plain = normalised(text)
        if self._keywords.read(text) == "opt_out":
            return Said("stop", _STOPS.get(plain) or _STOPS.get(spaced(plain)))
        return self._words.get(plain) or _pause(plain)


def _pause(plain: str) -> Said | None:
    """`PAUSE`, `PAUSE 7`, `pause for 7 days`, `विराम 7 दिन`: one of the words, then at most a number and its unit."""
    for word, tongue in _PAUSES.items():
        if plain == word:
            return Said("pause", tongue)
        if plain.startswith(word + " "):
            days = _days(plain[len(word) + 1 :])
            if days is not None:
                return Said("pause", tongue, days if days <= LONGEST_PAUSE_DAYS else None)
    return None


def _days(rest: str) -> int | None:
    """The whole number of days, at least 1; in any script's digits, with or without a word for days."""
    parts = [part for part in rest.split(" ") if part not in _LINKS]
    if len(parts) == 2 and parts[1] in _UNITS:
        parts.pop()
    if (
        len(parts) != 1
        or not 1 <= len(parts[0]) <= 4
        or not all(unicodedata.decimal(char, -1) >= 0 for char in parts[0])
    ):
        return None
    return int(parts[0]) or None


def _by_word(table: Mapping[Tongue, frozenset[str]]) -> dict[str, Tongue | None]:
    """Each word, normalised, with the language that it tells: English words are written by everyone."""
    return {normalised(word): None if tongue == "en" else tongue for tongue, words in table.items() for word in words}


_TABLES: tuple[tuple[Command, Mapping[Tongue, frozenset[str]]], ...] = (
    ("start", OPT_IN_WORDS),
    ("resume", RESUME_WORDS),
    ("help", HELP_WORDS),
)
_STOPS = _by_word(OPT_OUT_WORDS)
_PAUSES = _by_word(PAUSE_WORDS)
_UNITS = frozenset(_by_word(DAY_WORDS))
_LINKS = frozenset(part for word in LINKING for part in normalised(word).split(" "))
