"""API keys: what is in the file, who is let in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harkara.runtime.api_keys import ApiKey, ApiKeys, new_key
from harkara.runtime.problems import Problem

TEXT = "shop.a-secret-for-tests"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    path = tmp_path / "keys.yaml"
    path.write_text(f'keys:\n  - {{id: shop, name: the shop, sha256: {DIGEST.upper()}, sender: "100000000000001"}}\n')
    return ApiKeys.from_file(path)


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [(f"Bearer {TEXT}", None), (f"bearer  {TEXT} ", None), (None, TEXT), (f"Bearer {TEXT}", "shop.wrong")],
)
def test_the_right_key_in_either_header(keys: ApiKeys, authorization: str | None, x_api_key: str | None) -> None:
    assert keys.authenticate(authorization, x_api_key) == ApiKey("shop", "the shop", "100000000000001")


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [
        (None, None),
        ("", ""),
        ("Bearer", None),
        (f"Basic {TEXT}", None),
        (f"Bearer {TEXT}x", None),
        ("Bearer shop.", None),
        ("Bearer nobody.secret", None),
        (None, "x" * 100_000),
        (None, "shop.\udcff"),
        (f"Bearer {DIGEST}", None),
    ],
)
def test_anything_else_is_refused_in_the_same_words(keys: ApiKeys, authorization: str, x_api_key: str) -> None:
    with pytest.raises(Problem) as refused:
        keys.authenticate(authorization, x_api_key)
    assert refused.value.status == 401
    assert refused.value.body()["code"] == "UNAUTHORIZED"
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}
    assert "shop" not in str(refused.value.body())


def test_a_new_key_is_its_id_and_256_random_bits() -> None:
    text, digest = new_key("ops")
    assert text.startswith("ops.")
    assert len(text) == len("ops.") + 43
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    assert new_key("ops")[0] != text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("keys:\n  - {id: a, name: a, sha256: zz}\n", "keys.0.sha256"),
        ("keys:\n  - {id: a.b, name: a, sha256: " + "0" * 64 + "}\n", "keys.0.id"),
        ("keys:\n  - {id: a, nmae: a}\n", "keys.0.nmae"),
        ("keys: [\n", "keys.yaml:2"),
        (
            f"keys:\n  - {{id: a, name: a, sha256: {DIGEST}}}\n  - {{id: a, name: b, sha256: {DIGEST}}}\n",
            "id a is given",
        ),
        ("- 1\n", "keys.yaml"),
    ],
)
def test_a_wrong_file_says_what_to_mend_without_its_values(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=says) as refused:
        ApiKeys.from_file(path)
    assert DIGEST not in str(refused.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        ApiKeys.from_file(tmp_path / "none.yaml")


def test_a_file_without_keys_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("")
    assert ApiKeys.from_file(path).find(TEXT) is None
