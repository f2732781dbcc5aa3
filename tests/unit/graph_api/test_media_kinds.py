"""Which files may go as which kind of message: Meta's table and our cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.graph_api.media_kinds import DEFAULT_CAP_BYTES, KINDS, file_problem, kind_of, link_problem, size_problem

MEGABYTE = 1_000_000


@pytest.mark.req("MED-1")
@pytest.mark.parametrize(
    ("kind", "mime_type"),
    [
        ("image", "image/jpeg"), ("image", "image/png"), ("sticker", "image/webp"), ("video", "video/mp4"),
        ("video", "video/3gpp"), ("audio", "audio/mpeg"), ("audio", "audio/mp4"), ("audio", "audio/amr"),
        ("audio", "audio/ogg"), ("audio", "audio/ogg; codecs=opus"), ("document", "application/pdf"),
        ("document", "application/msword"), ("document", "text/plain"),
    ],
)  # fmt: skip
def test_what_meta_takes_may_go(kind: str, mime_type: str) -> None:
    assert file_problem(kind, mime_type=mime_type) is None


@pytest.mark.req("MED-1")
@pytest.mark.parametrize(
    ("kind", "mime_type", "word"),
    [("image", "image/gif", "video/mp4"), ("document", "application/zip", "one by one"),
     ("image", "image/webp", "sticker"), ("image", "video/mp4", "image/jpeg"), ("video", "image/gif", "video/mp4")],
)  # fmt: skip
def test_what_meta_does_not_take_is_refused_with_what_to_do(kind: str, mime_type: str, word: str) -> None:
    assert word in (file_problem(kind, mime_type=mime_type) or "")


@pytest.mark.parametrize(
    ("kind", "link", "refused"),
    [
        ("image", "https://a.example.test/x.PNG?v=2.gif", False),
        ("image", "https://a.example.test/x", False),
        ("image", "https://a.example.test/image.php", False),
        ("image", "https://a.example.test/x%2Egif", True),
        ("image", "https://a.example.test/x.mp4", True),
        ("document", "https://a.example.test/x.zip", True),
        ("document", "https://a.example.test/x.docx", False),
    ],
)
def test_a_links_ending_tells_what_it_can(kind: str, link: str, refused: bool) -> None:
    assert (link_problem(kind, link) is not None) is refused


@pytest.mark.req("MED-2")
def test_sizes_stop_at_metas_bound_and_at_our_cap() -> None:
    assert size_problem("image", 5 * MEGABYTE) is None
    assert "5 MB at most (Meta)" in (size_problem("image", 5 * MEGABYTE + 1) or "")
    assert size_problem("document", DEFAULT_CAP_BYTES) is None
    assert "16 MB at most (policy)" in (size_problem("document", DEFAULT_CAP_BYTES + 1) or "")
    assert size_problem("document", DEFAULT_CAP_BYTES + 1, cap_bytes=100 * MEGABYTE) is None
    assert size_problem("document", 0) == "The file is empty."


@given(kind=st.sampled_from(sorted(KINDS)), size=st.integers(1, 200 * MEGABYTE), cap=st.integers(1, 200 * MEGABYTE))
def test_a_size_is_refused_exactly_above_the_smaller_bound(kind: str, size: int, cap: int) -> None:
    assert (size_problem(kind, size, cap) is not None) is (size > min(cap, KINDS[kind].most_bytes))


def test_every_type_belongs_to_one_kind() -> None:
    types = [one for kind in KINDS.values() for one in kind.types]
    assert len(types) == len(set(types))
    assert all(kind_of(one) is not None for one in types)
    assert kind_of("image/bmp") is None
