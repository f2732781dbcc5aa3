"""The file of endpoints, and which addresses may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.outcome_notifier.endpoints import endpoints_from, is_public

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"


def written(folder: Path, text: str) -> Path:
    path = folder / "callbacks.yaml"
    path.write_text(text)
    return path


def one(url: str, more: str = "") -> str:
    return f"endpoints:\n  - {{producer: campaigns, url: '{url}', secrets: [{SECRET}]}}\n{more}"


def test_an_endpoint_as_it_is_written(tmp_path: Path) -> None:
    text = (
        f"endpoints:\n  - producer: campaigns\n    url: https://example.com/hooks?token=abc\n"
        f"    secrets: [{SECRET}, {OLD}]\n    events: [MESSAGE_READ]\n"
    )
    (found,) = endpoints_from(written(tmp_path, text))
    assert (found.producer, len(found.secrets), found.private) == ("campaigns", 2, False)
    assert found.kinds == frozenset({"MESSAGE_READ"})
    assert "abc" not in repr(found) and SECRET[6:] not in repr(found)
    assert endpoints_from(written(tmp_path, "{}")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one("http://example.com/"), "is not https"),
        (one("ftp://example.com/"), "not an https URL"),
        (one("https://user:pw@example.com/"), "neither a user"),
        (one("https://127.0.0.1/"), "no public address"),
        (one("https://[::ffff:10.0.0.1]/"), "no public address"),
        (one("https://169.254.169.254/latest"), "no public address"),
        (one("https://a.example/") + one("https://b.example/").removeprefix("endpoints:\n"), "more than one endpoint"),
        ("endpoints:\n  - {producer: a, url: 'https://a.example/', secrets: [whsec_QUJD]}", "24 to 64 bytes"),
        ("endpoints:\n  - {producer: a, url: 'https://a.example/', secrets: []}", "secrets"),
        ("endpoints: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_without_the_secret(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        endpoints_from(written(tmp_path, text))
    assert "whsec_Q" not in str(refused.value) and SECRET not in str(refused.value)


def test_the_operator_may_allow_a_host_by_name(tmp_path: Path) -> None:
    (found,) = endpoints_from(written(tmp_path, one("http://127.0.0.1:9/", "private_hosts: ['127.0.0.1']")))
    assert found.private
    with pytest.raises(ValueError, match="is not https"):
        endpoints_from(written(tmp_path, one("http://other.internal/", "private_hosts: [callbacks.internal]")))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
        "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::",
        "2001:0:7f00:1::", "2001:db8::1", "not an address", "", "2130706433",
    ],
)  # fmt: skip
def test_an_address_that_nobody_may_call_from_here(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "::ffff:1.1.1.1", "2606:4700:4700::1111"])
def test_an_address_of_the_open_internet(address: str) -> None:
    assert is_public(address)
