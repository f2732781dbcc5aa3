"""The mark of a content: two messages to one person that say the same have the same one, whoever asked for them.

What a person sees as the same counts as the same: letter case, white space, characters that show nothing and the forms
of a letter that look alike in print (NFKC) make no difference. A template's name, language and values do, a file's id
or link does. A mark is keyed with the pepper: whoever reads it cannot find out the text by trying some. It is compared
among what one person was told, and is the same under each of their names. 64 bits: of a person's hundred contents two
collide once in 10^15 persons.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import Any

import orjson

from harkara.contracts.intents import Content, ContentMarks, Media, SendIntent, Template, Text
from harkara.policy.disguise import BLANK
from harkara.policy.sections import Compliance

MARK_BYTES = 8


def marks_of(intent: SendIntent, pepper: bytes) -> ContentMarks:
    """Of what an intent may become: its session message, its template and its fallback content, as far as it has them.
    A template counts by the language and values in which the intent gives it, whichever of its variants is sent."""
    content, fallback = intent.content, intent.fallback_content
    template = content if isinstance(content, Template) else intent.fallback_template
    return ContentMarks(
        session=None if isinstance(content, Template) else content_mark(content, pepper),
        template=None if template is None else content_mark(template, pepper),
        fallback=None if fallback is None else content_mark(fallback, pepper),
    )


def marks_if_asked(intent: SendIntent, pepper: bytes, compliance: Compliance) -> ContentMarks | None:
    """The marks, where the policy has its lanes look for what a person was told already in this category."""
    rule = compliance.duplicate_content
    return None if rule is None or intent.category not in rule.purposes else marks_of(intent, pepper)


def content_mark(content: Content, pepper: bytes) -> str:
    """16 hexadecimal characters."""
    said = orjson.dumps(_said(content))
    return hashlib.blake2b(said, digest_size=MARK_BYTES, key=_key(pepper)).hexdigest()


def folded(text: str) -> str:
    """The text without what makes no difference to who reads it."""
    if not (text.isascii() and text.isprintable()):
        plain = unicodedata.normalize("NFKC", text).casefold()
        text = unicodedata.normalize("NFKC", "".join(char for char in plain if _shown(char)))
    return " ".join(text.casefold().split())


def _shown(char: str) -> bool:
    if char in BLANK:
        return False
    return char.isspace() or unicodedata.category(char) not in ("Cf", "Cc")


def _said(content: Content) -> list[Any]:
    if isinstance(content, Text):
        return ["text", folded(content.body)]
    if isinstance(content, Media):
        return ["media", *_file(content)]
    return [
        "template",
        content.name,
        content.language,
        _file(content.header) if isinstance(content.header, Media) else folded(content.header or ""),
        [folded(value) for value in content.body],
        sorted((name, folded(value)) for name, value in content.named.items()),
        sorted((button.index, button.sub_type, button.value) for button in content.buttons),
    ]


def _file(media: Media) -> list[str]:
    return [media.type, media.id or "", media.link or "", folded(media.caption or ""), folded(media.filename or "")]


@lru_cache(maxsize=8)
def _key(pepper: bytes) -> bytes:
    """For this use alone, and of the length that BLAKE2b takes."""
    return hashlib.blake2b(pepper, person=b"harkara-content").digest()
