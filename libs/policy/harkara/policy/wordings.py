"""Does a text repeat a template's wording that may not go this way (CMP-11)? Positions are counted from 1.

Refused is the wording of a template that Meta refused for good (unless it was for its form), and that of one dearer
than the message's category: as free text, or as a template's values, it would go round the template's approval, its
consent and its caps. What an approved template of a category that is not dearer says too is innocent, and so are the
policy's common texts and what very many templates say: such words are left out.

A text is a repeat where it has most of a template's wording, or where most of it is of one template's: so a wording
that is spread over several messages is known in each of them, with nothing remembered between them. Values that were
filled in, letter case, accents, look-alike letters, characters that show nothing and punctuation between words make no
difference. No regular expression; linear in the text.

Not found: what is written in other words (every fourth word changed is enough), words taken apart ("of-fer") or written
together, pieces of fewer than eight words, a piece among as many other words, templates with no four words between two
variables, languages without spaces between words, headers and footers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from harkara.contracts.event import Reason, Value
from harkara.contracts.intents import Category, Content, Template
from harkara.contracts.template_state import TemplateCategory, TemplateState, TemplateStatus
from harkara.policy.content import shown_texts
from harkara.policy.language import offered, spoken_in
from harkara.policy.optout import normalised, one_spelling
from harkara.policy.templates import dearer_than_paid_for

SHINGLE = 4  # words in a row by which a wording is known: three are everybody's, five are lost between two values
FEWEST_WORDS = 8  # of a template's that a text has; fewer are common phrases
FEWEST_OF_WHOLE = 12  # of a template's in a text that is mostly about something else: a polite sentence is no template
HALF = 0.5  # of a text; from there on it is mostly that
SHARE = 0.8  # of the template's wording, or of the text: room for a few words changed or put in between
MOST_SHARED = 32  # wordings with the same words in a row: those tell no template; bounds what a text costs
MOST_FOLDED = 20_000  # characters remembered; texts of our languages have a few hundred
LONGEST_REMEMBERED = 64  # characters of a word; without spaces between words a "word" is a text, and new each time
REFUSED_FOR_GOOD: frozenset[TemplateStatus] = frozenset({"REJECTED", "DISABLED"})
NOT_FOR_ITS_WORDS = frozenset({"INVALID_FORMAT", "CATEGORY_NOT_AVAILABLE"})
"""Why Meta rejects a template whatever it says: how its variables stand, or what the account may have."""
REVIEWED: frozenset[TemplateStatus] = frozenset({"APPROVED", "PAUSED"})
"""That let their wording pass; one in review does not, or to submit a refused text again would be enough."""


class Repeat(Value):
    """What a text repeats, without the text. `template`: name and language. `position`: where in the field it begins,
    from 1; `share`: of the template's wording, or of the text, whichever is the larger."""

    template: str
    status: TemplateStatus
    category: TemplateCategory | None = None
    part: str = "content"
    field: str = "text"
    position: int
    share: float


class _Holder(NamedTuple):
    """A template that has a wording, and whether Meta refused it for what it says."""

    template: str
    status: TemplateStatus
    category: TemplateCategory | None
    refused: bool


_PASSED = _Holder("", "APPROVED", None, refused=False)  # of what everybody may say


class _Judged(NamedTuple):
    """By which of its templates a wording is refused, None: by none; whether it may be said all the same."""

    against: _Holder | None
    innocent: bool


class _Found(NamedTuple):
    """A wording that is repeated: how much of it, by how many words, whose it is, and at which word (from 0)."""

    share: float
    words: int
    holder: _Holder
    place: int

    def order(self) -> tuple[object, ...]:
        """The most of it first; and one order whatever order the templates came in: others must name the same."""
        name, status, category, refused = self.holder
        return -self.share, -self.words, name, not refused, status, category or "", self.place


@dataclass(eq=False, slots=True)
class _Wording:
    """One text, of however many templates."""

    text: str
    holders: dict[str, _Holder] = field(default_factory=dict)
    _judged: dict[Category, _Judged] = field(default_factory=dict)

    def hold(self, key: str, holder: _Holder | None) -> None:
        """The template of this key has it, or has it no more."""
        self._judged.clear()
        if holder is None:
            del self.holders[key]
        else:
            self.holders[key] = holder

    def judged(self, category: Category) -> _Judged:
        """What its templates say of it to a message of this category. Looked for once until one of them changes."""
        judged = self._judged.get(category)
        if judged is None:
            holders = [self.holders[key] for key in sorted(self.holders)]
            dearer = [each for each in holders if dearer_than_paid_for(each.category, category) is not None]
            refused = [each for each in holders if each.refused]
            passed = [each for each in holders if each.status in REVIEWED]
            innocent = len(passed) > sum(each.status in REVIEWED for each in dearer)
            judged = self._judged[category] = _Judged(next(iter(refused + dearer), None), innocent)
        return judged


class Wordings:
    """The wordings of the templates that are known, by their words in a row. About 7 KB for one of 600 characters."""

    def __init__(self) -> None:
        self._by_shingle: dict[int, _Wording | list[_Wording]] = {}
        self._by_text: dict[str, _Wording] = {}
        self._of: dict[str, _Wording] = {}
        self._own: dict[tuple[_Wording, Category], int] = {}
        self._common: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same."""
        return isinstance(other, Wordings) and self._held() == other._held()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def put(self, key: str, state: TemplateState) -> None:
        """What is known of the template of this key now."""
        known = self._of.get(key)
        if known is not None and known.text != state.wording:
            self.remove(key)
        if state.wording is not None:
            self._hold(key, state.wording, _holder(state))

    def remove(self, key: str) -> None:
        """The template of this key is gone; one that is not known changes nothing."""
        wording = self._of.pop(key, None)
        if wording is None:
            return
        wording.hold(key, None)
        self._own.clear()
        if not wording.holders:
            del self._by_text[wording.text]
            for shingle in _shingles_of(wording.text):
                self._without(shingle, wording)

    def _hold(self, key: str, text: str, holder: _Holder) -> None:
        wording = self._of[key] = self._by_text.get(text) or self._added(text)
        wording.hold(key, holder)
        self._own.clear()

    def repeats(self, text: str, category: Category, common: tuple[str, ...] = ()) -> Repeat | None:
        """What the text of a message of this category repeats that it may not, the most of it; None: nothing. `common`:
        what everybody may say."""
        if common is not self._common:
            self._let_pass(common)
        words = words_of(text)
        if len(words) < FEWEST_WORDS:
            return None
        shingles = _shingles(words)
        if self._by_shingle.keys().isdisjoint(shingles):
            return None  # nearly all texts
        most = min(self._found(words, shingles, category), key=_Found.order, default=None)
        if most is None:
            return None
        return Repeat(
            template=most.holder.template,
            status=most.holder.status,
            category=most.holder.category,
            position=next(islice(_beginnings(text), most.place, None)),
            share=round(most.share, 2),
        )

    def _let_pass(self, common: tuple[str, ...]) -> None:
        """What everybody may say is held as the wordings of approved templates of no category. Of two policies that
        follow each other it is mostly the same."""
        if common != self._common:
            for place in range(len(self._common)):
                self.remove(_common_key(place))
            for place, text in enumerate(common):
                self._hold(_common_key(place), text, _PASSED)
        self._common = common

    def _found(self, words: list[str], shingles: list[int], category: Category) -> Iterator[_Found]:
        """Each wording that is repeated."""
        places: dict[tuple[_Wording, _Holder], list[int]] = {}
        innocent: list[int] = []
        before, refusing = None, None
        for place in [place for place, shingle in enumerate(shingles) if shingle in self._by_shingle]:
            held = self._by_shingle[shingles[place]]
            if held is not before:  # as it is along a wording
                before, refusing = held, _refusing(held, category)
            if refusing is None:
                innocent.append(place)
                continue
            for each in refusing:
                places.setdefault(each, []).append(place)
        left_out = _words_at(innocent) if places else set()
        for (wording, holder), starts in places.items():
            covered = _words_at(starts)
            if len(covered) < FEWEST_WORDS:
                continue
            share = len(covered) / (len(words) - len(left_out - covered))
            if len(covered) >= FEWEST_OF_WHOLE or share >= HALF:
                share = max(share, len({shingles[start] for start in starts}) / self._own_of(wording, category))
            if share >= SHARE:
                yield _Found(share, len(covered), holder, starts[0])

    def _own_of(self, wording: _Wording, category: Category) -> int:
        """How many words in a row tell this wording to a message of this category. Counted once until a template
        changes."""
        if (wording, category) not in self._own:
            held = (self._by_shingle[each] for each in _shingles_of(wording.text))
            self._own[wording, category] = sum(_refusing(each, category) is not None for each in held)
        return self._own[wording, category]

    def _held(self) -> tuple[object, ...]:
        told = {key: (wording.text, wording.holders[key]) for key, wording in self._of.items()}
        return told, self._by_text.keys(), self._by_shingle.keys()

    def _added(self, text: str) -> _Wording:
        wording = self._by_text[text] = _Wording(text)
        for shingle in _shingles_of(text):
            held = self._by_shingle.get(shingle)
            if isinstance(held, list):
                held.append(wording)  # thousands may share a sentence
            else:
                self._by_shingle[shingle] = wording if held is None else [held, wording]
        return wording

    def _without(self, shingle: int, wording: _Wording) -> None:
        held = self._by_shingle[shingle]
        if isinstance(held, list) and len(held) > 1:
            held.remove(wording)
        else:
            del self._by_shingle[shingle]


def repeat_in(
    parts: Iterable[tuple[str, Content | None]],
    wordings: Wordings,
    category: Category,
    common: tuple[str, ...] = (),
) -> Repeat | None:
    """What the first of these contents (with their names in the intent) that repeats something repeats. The values of a
    template count together, language by language: a wording can be put into several. `common`: what may be said."""
    for part, content in parts:
        for suffix, each in _spoken(content):
            told = [(name + suffix, value) for name, value, _ in shown_texts(each)]
            found = wordings.repeats(" ".join(value for _, value in told), category, common)
            if found is not None:
                name, at = _within(told, found.position)
                return found.model_copy(update={"part": part, "field": name, "position": at})
    return None


def refusal_of(repeat: Repeat, category: Category) -> Reason:
    """Why a message of this category does not go. Stamped with no policy."""
    name, _, language = repeat.template.rpartition(":")
    is_value = repeat.field not in ("text", "caption", "filename")
    where = f"The template's value {repeat.field}" if is_value else f"The {repeat.field}"
    if repeat.status in REFUSED_FOR_GOOD:
        why = f"which Meta refused: it is {repeat.status}. Say it otherwise, or have a template with it approved"
    else:
        why = f"which is {repeat.category} at Meta, while the message is {category}. Send it in the template's category"
    text = (
        f"{where} repeats the template {name} in {language} at character {repeat.position}, {why}. What every message "
    )
    text += "may say belongs in compliance.common_texts."
    told = {
        "part": repeat.part,
        "field": repeat.field,
        "positions": str(repeat.position),
        "template": repeat.template,
        "status": repeat.status,
        "share": f"{repeat.share:g}",
    }
    more = {} if repeat.category is None else {"category": repeat.category}
    return Reason(code="content_repeats_template", text=text, rule="content", details=told | more)


def _holder(state: TemplateState) -> _Holder:
    why = None if state.reason is None or state.status != "REJECTED" else state.reason.code
    refused = state.status in REFUSED_FOR_GOOD and why not in NOT_FOR_ITS_WORDS
    return _Holder(f"{state.name}:{state.language}", state.status, state.category, refused)


def words_of(text: str) -> list[str]:
    """The words as they are compared: what opting out is read by, and punctuation is space."""
    if text.isascii():
        return text.encode().translate(_ASCII, _UNSEEN).decode().split()
    parts = text.split()
    return [word for each in parts for word in (_words_in if len(each) <= LONGEST_REMEMBERED else _folded)(each)]


class _Folding(dict[int, str]):
    """What a character comes to where texts are compared: its letters, a space, or nothing where it shows nothing. For
    `str.translate`."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        plain = normalised(char) or ("" if normalised(f"a{char}b") == "ab" else " ")
        if len(self) < MOST_FOLDED:
            self[code] = plain
        return plain


_FOLDED = _Folding()


@lru_cache(maxsize=8192)  # what is said most often; without it a text in Hindi takes three times as long
def _words_in(part: str) -> tuple[str, ...]:
    return _folded(part)


def _folded(part: str) -> tuple[str, ...]:
    return tuple(one_spelling(unicodedata.normalize("NFC", part).translate(_FOLDED)).split())


_UNSEEN = bytes(code for code in range(128) if not _FOLDED[code])
_ASCII = bytes(ord(_FOLDED[code] or " ") if code < 128 else 0 for code in range(256))


def _beginnings(text: str) -> Iterator[int]:
    """Where each of its words begins, from 1: in the text as it was given."""
    inside = False
    for place, char in enumerate(text, start=1):
        for each in unicodedata.normalize("NFC", char).translate(_FOLDED):  # which takes notes of music apart
            if not inside and not each.isspace():
                yield place
            inside = not each.isspace()


def _common_key(place: int) -> str:
    return f"common/{place}"  # a template's begins with its account, which is a number


def _shingles(words: list[str]) -> list[int]:
    """A number for each so many words in a row; good in this process alone."""
    return [hash(each) for each in zip(*(words[start:] for start in range(SHINGLE)), strict=False)]


def _shingles_of(wording: str) -> set[int]:
    """Of what stands between the variables."""
    first, *others = wording.split("{{")
    between = [first, *(each.partition("}}")[2] or each for each in others)]
    return {shingle for each in between for shingle in _shingles(words_of(each))}


def _refusing(held: _Wording | list[_Wording], category: Category) -> list[tuple[_Wording, _Holder]] | None:
    """The wordings by which words that these have are refused; None: those say nothing of where they are from, or
    nothing that may not be said."""
    wordings = [held] if isinstance(held, _Wording) else held
    if len(wordings) > MOST_SHARED:
        return None
    judged = [(each, each.judged(category)) for each in wordings]
    if any(said.innocent for _, said in judged):
        return None
    return [(each, said.against) for each, said in judged if said.against is not None]


def _words_at(starts: Iterable[int]) -> set[int]:
    return {start + n for start in starts for n in range(SHINGLE)}


def _spoken(content: Content | None) -> Iterator[tuple[str, Content]]:
    if isinstance(content, Template) and content.variants:
        yield from ((f" in {each}", spoken_in(content, each)) for each in offered(content))
    elif content is not None:
        yield "", content


def _within(told: list[tuple[str, str]], position: int) -> tuple[str, int]:
    """The field, and the position in it, of a position in all of them joined by spaces."""
    for name, value in told:
        if position <= len(value):
            return name, position
        position -= len(value) + 1
    raise ValueError("there is no such position")
