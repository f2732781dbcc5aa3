"""What a key may do: the roles of the file (ING-18)."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.runtime.api_keys import EVERY_ROLE, ApiKeys, new_key
from harkara.runtime.problems import Problem


def key_of(tmp_path: Path, roles: str) -> ApiKeys:
    text, digest = new_key("shop")
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n  - {{id: shop, name: the shop, sha256: {digest}{roles}}}\n", "utf-8")
    keys = ApiKeys.from_file(path)
    assert keys.find(text) is not None
    return keys


@pytest.mark.req("ING-18")
def test_a_key_may_do_what_its_roles_say(tmp_path: Path) -> None:
    key = key_of(tmp_path, ", roles: [send, read]").known("shop")
    assert key is not None
    key.require("send")
    key.require("read")
    for role in ("control", "consent"):
        with pytest.raises(Problem) as refused:
            key.require(role)
        assert (refused.value.status, refused.value.code) == (403, "ROLE_REQUIRED")


def test_a_key_without_roles_may_do_everything(tmp_path: Path) -> None:
    key = key_of(tmp_path, "").known("shop")
    assert key is not None and key.roles == EVERY_ROLE == {"send", "control", "consent", "read"}


@pytest.mark.parametrize("roles", [", roles: []", ", roles: [admin]", ", roles: send"])
def test_roles_that_are_none_are_refused(tmp_path: Path, roles: str) -> None:
    with pytest.raises(ValueError, match="roles"):
        key_of(tmp_path, roles)
