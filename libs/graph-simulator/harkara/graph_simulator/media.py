"""Uploaded media: what Meta would take, and what it remembers of it. The bytes themselves are not kept."""

from __future__ import annotations

from dataclasses import dataclass

from harkara.graph_simulator.refusals import Refusal

MEGABYTE = 1_000_000
LIFE_SECONDS = 30 * 86_400.0  # uploaded ids live 30 days
MAX_MEDIA = 100_000
"""Remembered uploads; beyond it the oldest is forgotten, as an expired one is."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
KINDS: dict[str, tuple[int, frozenset[str]]] = {
    "audio": (16 * MEGABYTE, frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"})),
    "image": (5 * MEGABYTE, frozenset({"image/jpeg", "image/png"})),
    "sticker": (500_000, frozenset({"image/webp"})),
    "video": (16 * MEGABYTE, frozenset({"video/mp4", "video/3gpp"})),
    "document": (
        100 * MEGABYTE,
        frozenset(
            {
                "text/plain", "application/pdf", "application/msword", "application/vnd.ms-excel",
                "application/vnd.ms-powerpoint", _OFFICE + "wordprocessingml.document",
                _OFFICE + "spreadsheetml.sheet", _OFFICE + "presentationml.presentation",
            }
        ),
    ),
}  # fmt: skip
"""Largest size in bytes and MIME types by message type (Meta, media reference)."""


@dataclass(frozen=True, slots=True)
class Media:
    """One upload."""

    id: str
    waba_id: str
    mime_type: str
    sha256: str
    size: int
    uploaded_at: float


def kind_of(mime_type: str) -> str | None:
    """The message type that takes this MIME type."""
    return next((kind for kind, (_, types) in KINDS.items() if mime_type in types), None)


def check_upload(mime_type: str, size: int) -> Refusal | None:
    """100 for a type or a size that Meta does not take."""
    kind = kind_of(mime_type)
    if kind is None:
        types = ", ".join(sorted(one for _, found in KINDS.values() for one in found))
        received = f"Received file of type '{mime_type[:60]}'."
        return Refusal(
            100, message=f"(#100) Param file must be a file with one of the following types: {types}. {received}"
        )
    if size == 0:
        return Refusal(100, message="(#100) Param file must not be empty.")
    if size > KINDS[kind][0]:
        return Refusal(100, message=f"(#100) Param file is too large: {size} bytes for {kind}.")
    return None


class MediaStore:
    """Uploads by id, in order of upload."""

    def __init__(self) -> None:
        self._media: dict[str, Media] = {}
        self._next_id = 2_754_859_441_000_000

    def add(self, waba_id: str, mime_type: str, sha256: str, size: int, now: float) -> Media:
        """Remembers an upload that passed `check_upload`."""
        if len(self._media) >= MAX_MEDIA:
            del self._media[next(iter(self._media))]
        self._next_id += 1
        media = Media(str(self._next_id), waba_id, mime_type, sha256, size, now)
        self._media[media.id] = media
        return media

    def get(self, media_id: str, now: float) -> Media | None:
        """The upload, unless it is unknown, deleted or older than 30 days."""
        media = self._media.get(media_id)
        return media if media is not None and now - media.uploaded_at < LIFE_SECONDS else None

    def delete(self, media_id: str) -> None:
        """Forgets the upload."""
        self._media.pop(media_id, None)

    def fits(self, media_id: str, waba_id: str, kind: str) -> bool:
        """Whether a message of this type by this account may carry the upload."""
        media = self._media.get(media_id)
        return media is not None and media.waba_id == waba_id and media.mime_type in KINDS[kind][1]
