"""Which files Meta takes as which kind of message, and how large: data and the checks that need nothing else.

Source: Meta, Cloud API media reference (sizes in decimal megabytes, as Meta's own upload errors count them). Our own
cap (MED-2, 16 MB) is a policy above Meta's: it only matters for documents, which Meta takes up to 100 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

MEGABYTE = 1_000_000
DEFAULT_CAP_BYTES = 16 * MEGABYTE
"""MED-2; a policy may raise it up to Meta's own bound of the kind."""

_OFFICE = "application/vnd.openxmlformats-officedocument."


@dataclass(frozen=True, slots=True)
class MediaKind:
    """One kind of message. `types`: MIME type by the file extensions it goes with, the usual one first."""

    name: str
    most_bytes: int
    types: dict[str, tuple[str, ...]]
    caption: bool = False
    filename: bool = False


KINDS: dict[str, MediaKind] = {
    kind.name: kind
    for kind in (
        MediaKind("image", 5 * MEGABYTE, {"image/jpeg": ("jpg", "jpeg"), "image/png": ("png",)}, caption=True),
        MediaKind("sticker", 500_000, {"image/webp": ("webp",)}),
        MediaKind("video", 16 * MEGABYTE, {"video/mp4": ("mp4",), "video/3gpp": ("3gp", "3gpp")}, caption=True),
        MediaKind(
            "audio",
            16 * MEGABYTE,
            {
                "audio/aac": ("aac",),
                "audio/amr": ("amr",),
                "audio/mpeg": ("mp3", "mpeg", "mpga"),
                "audio/mp4": ("m4a",),
                "audio/ogg": ("ogg", "opus"),
            },
        ),
        MediaKind(
            "document",
            100 * MEGABYTE,
            {
                "text/plain": ("txt",),
                "application/pdf": ("pdf",),
                "application/msword": ("doc",),
                "application/vnd.ms-excel": ("xls",),
                "application/vnd.ms-powerpoint": ("ppt",),
                _OFFICE + "wordprocessingml.document": ("docx",),
                _OFFICE + "spreadsheetml.sheet": ("xlsx",),
                _OFFICE + "presentationml.presentation": ("pptx",),
            },
            caption=True,
            filename=True,
        ),
    )
}
STATIC_STICKER_BYTES = 100_000
"""A sticker that does not move; an animated one may have 500 KB."""

ADVICE = {
    "image/gif": "Meta takes no GIF: send it as a video of type video/mp4.",
    "application/zip": "Meta takes no ZIP archive: send the files one by one.",
    "image/webp": "Meta takes WebP as a sticker only: send it as a sticker, or as image/jpeg or image/png.",
}
"""Files that people ask for and Meta refuses, with what to do (MED-1 lists gif and zip)."""
_ADVICE_BY_EXTENSION = {"gif": "image/gif", "zip": "application/zip", "webp": "image/webp"}


def kind_of(mime_type: str) -> MediaKind | None:
    """The kind that takes this MIME type."""
    return next((kind for kind in KINDS.values() if mime_type in kind.types), None)


def extension(link: str) -> str | None:
    """The extension of a link's path in lower case, without the dot; None where it has none."""
    suffix = PurePosixPath(unquote(urlsplit(link).path)).suffix.lower().lstrip(".")
    return suffix or None


def file_problem(
    kind: str, *, link: str | None = None, mime_type: str | None = None, size_bytes: int | None = None
) -> str | None:
    """The first thing wrong with a file to be sent as this kind, of what is known of it; None where it may go."""
    problem = link_problem(kind, link) if link is not None else None
    if problem is None and mime_type is not None:
        problem = type_problem(kind, mime_type)
    if problem is None and size_bytes is not None:
        problem = size_problem(kind, size_bytes)
    return problem


def type_problem(kind: str, mime_type: str) -> str | None:
    """Why Meta would not take this MIME type as this kind, or None."""
    plain = mime_type.split(";")[0].strip().lower()
    allowed = KINDS[kind].types
    if plain in allowed:
        return None
    return ADVICE.get(plain) or f"{_article(kind)} is one of {', '.join(allowed)}; not {plain[:60]}."


def link_problem(kind: str, link: str) -> str | None:
    """Why the file at this link cannot be of this kind, as far as its extension tells; None where it may be."""
    found = extension(link)
    if found is None or found in {one for names in KINDS[kind].types.values() for one in names}:
        return None
    if found in _ADVICE_BY_EXTENSION:
        return ADVICE[_ADVICE_BY_EXTENSION[found]]
    other = next((k.name for k in KINDS.values() for names in k.types.values() if found in names), None)
    if other is not None:
        return f"A link that ends in .{found} is {_article(other).lower()}, not {_article(kind).lower()}."
    return None  # an unknown ending, such as .php: the type is in the answer, which Meta alone asks for


def size_problem(kind: str, size_bytes: int, cap_bytes: int = DEFAULT_CAP_BYTES) -> str | None:
    """Why a file of that size is refused, or None. `cap_bytes` is our own policy (MED-2)."""
    most = KINDS[kind].most_bytes
    if size_bytes <= 0:
        return "The file is empty."
    if size_bytes > most:
        return f"{_article(kind)} may have {_size(most)} at most (Meta); this one has {_size(size_bytes)}."
    if size_bytes > cap_bytes:
        return f"A file may have {_size(cap_bytes)} at most (policy); this one has {_size(size_bytes)}."
    return None


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MEGABYTE:g} MB" if size_bytes >= MEGABYTE else f"{size_bytes / 1_000:g} KB"


def _article(kind: str) -> str:
    return f"{'An' if kind[0] in 'aeiou' else 'A'} {kind}"
