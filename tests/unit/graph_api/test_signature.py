"""X-Hub-Signature-256 over the raw bytes, against the test vector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harkara.graph_api.signature import sign, verify

VECTOR = json.loads(
    (Path(__file__).parents[2] / "fixtures/meta/payloads/signature_example.json").read_text(encoding="utf-8")
)
RAW = VECTOR["raw_body"].encode("ascii")
SECRET = VECTOR["app_secret"]


def test_the_vector_verifies_and_its_reserialised_form_does_not() -> None:
    assert sign(SECRET, RAW) == VECTOR["header_value"]
    assert len(VECTOR["header_value"]) == VECTOR["header_length"]
    assert verify([SECRET], RAW, VECTOR["header_value"])
    again = json.dumps(json.loads(RAW), ensure_ascii=False, separators=(",", ":")).encode()
    assert not verify([SECRET], again, VECTOR["header_value"])


def test_any_secret_of_a_rotation_verifies() -> None:
    header = sign("new-secret", RAW)
    assert verify(["old-secret", "new-secret"], RAW, header)
    assert verify(["new-secret", "old-secret"], RAW, header)
    assert not verify(["old-secret"], RAW, header)
    assert not verify([], RAW, header)


def test_an_empty_secret_never_verifies() -> None:
    assert not verify(["", SECRET[:-1]], RAW, sign("", RAW))


@pytest.mark.parametrize(
    "header",
    [
        None, "", "sha256=", VECTOR["header_value"][:-1], VECTOR["header_value"] + "0", VECTOR["header_value"][7:],
        VECTOR["header_value"].upper(), "sha1=" + VECTOR["header_value"][5:], "sha256=" + "é" * 64,
        VECTOR["must_not_match_if_reserialised_as_utf8"],
    ],
)  # fmt: skip
def test_a_malformed_or_foreign_header_is_refused(header: str | None) -> None:
    assert not verify([SECRET], RAW, header)


def test_one_flipped_bit_of_the_body_is_refused() -> None:
    assert not verify([SECRET], bytes([RAW[0] ^ 1]) + RAW[1:], VECTOR["header_value"])
