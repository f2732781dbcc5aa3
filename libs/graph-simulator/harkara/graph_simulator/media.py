"""Media: what Meta takes at upload, what it remembers, and for a while the bytes, to be downloaded again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from harkara.graph_api.media_kinds import KINDS, STATIC_STICKER_BYTES, kind_of
from harkara.graph_simulator.refusals import Refusal

UPLOADED_SECONDS = 30 * 86_400.0
RECEIVED_SECONDS = 7 * 86_400.0
"""Uploaded ids live 30 days, those of inbound messages 7 (Meta, since October 2025)."""
URL_SECONDS = 300.0
"""A download URL holds for 5 minutes (Meta)."""
MAX_MEDIA = 100_000
"""Remembered uploads; beyond it the oldest is forgotten, as an expired one is."""
MAX_KEPT_BYTES = 128 * 1_000_000
"""Bytes kept for downloads; beyond it those of the oldest are dropped, whose download then is a 404."""
MAX_SESSIONS = 1_000
"""Resumable uploads under way; beyond it the oldest is forgotten."""

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"BM", 0, "image/bmp"),
    (b"WEBP", 8, "image/webp"),
    (b"%PDF-", 0, "application/pdf"),
    (b"#!AMR", 0, "audio/amr"),
    (b"OggS", 0, "audio/ogg"),
    (b"ftyp3g", 4, "video/3gpp"),
    (b"ftyp", 4, "video/mp4"),
    (b"PK\x03\x04", 0, "application/zip"),
    (b"\xd0\xcf\x11\xe0", 0, "application/x-ole"),
    (b"ID3", 0, "audio/mpeg"),
)
_CONTAINED = {"application/zip": "openxmlformats", "video/mp4": "audio/mp4"}


@dataclass(slots=True)
class Media:
    """One upload. `url_key` and `url_until`: the download URL that was given out last."""

    id: str
    waba_id: str
    mime_type: str
    sha256: str
    size: int
    uploaded_at: float
    life_seconds: float = UPLOADED_SECONDS
    content: bytes | None = field(default=None, repr=False)
    url_key: str = ""
    url_until: float = 0.0


@dataclass(slots=True)
class Session:
    """A resumable upload (Meta, Resumable Upload API), whose end is a handle for a template's example."""

    id: str
    mime_type: str
    size: int
    content: bytearray = field(default_factory=bytearray, repr=False)


def detected(head: bytes) -> str | None:
    """The MIME type that the first bytes tell; None where they tell none."""
    return next((found for magic, at, found in _MAGIC if head[at : at + len(magic)] == magic), None)


def contradicts(mime_type: str, head: bytes) -> bool:
    """Whether the bytes are surely of another type than declared."""
    found = detected(head)
    if found is None or found == mime_type:
        return False
    if found == "application/x-ole":
        return mime_type not in ("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint")
    return _CONTAINED.get(found, "-") not in mime_type


def check_upload(mime_type: str, size: int, head: bytes = b"") -> Refusal | None:
    """100 for a type or a size that Meta does not take, or for bytes of another type than declared."""
    kind = kind_of(mime_type)
    if kind is None or contradicts(mime_type, head):
        types = ", ".join(sorted(one for found in KINDS.values() for one in found.types))
        received = f"Received file of type '{(detected(head) if kind else mime_type) or mime_type:.60}'."
        return Refusal(
            100, message=f"(#100) Param file must be a file with one of the following types: {types}. {received}"
        )
    if size == 0:
        return Refusal(100, message="(#100) Param file must not be empty.")
    still = kind.name == "sticker" and head[12:16] != b"VP8X"
    if size > (STATIC_STICKER_BYTES if still and head else kind.most_bytes):
        return Refusal(100, message=f"(#100) Param file is too large: {size} bytes for {kind.name}.")
    return None


class MediaStore:
    """Uploads by id, in order of upload."""

    def __init__(self) -> None:
        self._media: dict[str, Media] = {}
        self._sessions: dict[str, Session] = {}
        self._next_id = 2_754_859_441_000_000
        self._kept_bytes = 0

    def add(
        self,
        waba_id: str,
        mime_type: str,
        sha256: str,
        size: int,
        now: float,
        content: bytes | None = None,
        life_seconds: float = UPLOADED_SECONDS,
    ) -> Media:
        """Remembers an upload that passed `check_upload`."""
        if len(self._media) >= MAX_MEDIA:
            self.delete(next(iter(self._media)))
        self._next_id += 1
        media = Media(str(self._next_id), waba_id, mime_type, sha256, size, now, life_seconds, content)
        self._media[media.id] = media
        self._kept_bytes += len(content or b"")
        for oldest in self._media.values():
            if self._kept_bytes <= MAX_KEPT_BYTES:
                break
            self._drop_content(oldest)
        return media

    def _drop_content(self, media: Media) -> None:
        self._kept_bytes -= len(media.content or b"")
        media.content = None

    def get(self, media_id: str, now: float, scale: float = 1.0) -> Media | None:
        """The upload, unless it is unknown, deleted or too old."""
        media = self._media.get(media_id)
        return media if media is not None and now - media.uploaded_at < media.life_seconds / scale else None

    def url_path(self, media: Media, now: float) -> str:
        """A new path for a download, for 5 minutes."""
        media.url_key, media.url_until = secrets.token_hex(16), now + URL_SECONDS
        return f"/whatsapp_business/attachments/?mid={media.id}&ext={int(media.url_until)}&hash={media.url_key}"

    def delete(self, media_id: str) -> None:
        """Forgets the upload."""
        media = self._media.pop(media_id, None)
        if media is not None:
            self._drop_content(media)

    def fits(self, media_id: str, waba_id: str, kind: str, now: float, scale: float = 1.0) -> bool:
        """Whether a message of this type by this account may carry the upload."""
        media = self.get(media_id, now, scale)
        return media is not None and media.waba_id == waba_id and media.mime_type in KINDS[kind].types

    def open_session(self, mime_type: str, size: int) -> Session:
        """Begins a resumable upload."""
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = Session(f"upload:{secrets.token_urlsafe(18)}", mime_type, size)
        self._sessions[session.id] = session
        return session

    def session(self, session_id: str) -> Session | None:
        """A resumable upload under way."""
        return self._sessions.get(session_id)

    def close_session(self, session: Session, now: float) -> str:
        """The handle of a whole upload, to be a template's `header_handle`."""
        self._sessions.pop(session.id, None)
        return f"4::{secrets.token_urlsafe(12)}:{session.mime_type}:{secrets.token_urlsafe(16)}:e:{int(now) + 300}"
