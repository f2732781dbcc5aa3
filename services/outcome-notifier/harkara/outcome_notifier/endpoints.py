"""Where callbacks go: the file of endpoints, and which addresses may be called at all.

    private_hosts: [callbacks.internal]   # may be http, and may be at a private address; every other host may not
    endpoints:
      - producer: campaigns               # whose messages (the intent's `producer`)
        url: https://example.com/hooks
        secrets: [whsec_...]              # newest first; while a secret is exchanged, both sign
        events: [MESSAGE_DELIVERED]       # left out: every kind

The file holds secrets: it belongs in a Secret, not beside the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, field_validator

from harkara.contracts.envelope import explain
from harkara.contracts.outcomes import OUTCOME_KINDS, OutcomeKind
from harkara.outcome_notifier.core import secret_bytes

LONGEST_FILE = 1_000_000  # bytes; 50 endpoints with three secrets each have 50,000
MOST_ENDPOINTS = 50  # each reads the whole topic in a group of its own; more belong behind a fan-out of their owner's
_EMBEDS_IPV4 = tuple(
    IPv6Network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
"""IPv6 addresses that a gateway turns into an IPv4 one (NAT64, 6to4, Teredo, compatible): ways round the check."""
_CLOUD = frozenset({ip_address("168.63.129.16"), ip_address("192.0.0.192")})
"""Servers of the clouds at addresses that count as public (Azure's, Oracle's); the others are link-local or private."""

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$", to_lower=True)]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One producer's endpoint. `private`: the operator allows its host by name to be private and without TLS."""

    producer: str
    url: str
    secrets: tuple[bytes, ...]
    kinds: frozenset[OutcomeKind]
    private: bool

    def __repr__(self) -> str:
        return f"Endpoint({self.producer})"  # neither its secrets nor a token in its URL belong in a log


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    producer: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    url: Annotated[str, StringConstraints(max_length=2048)]
    secrets: Annotated[tuple[SecretStr, ...], Field(min_length=1, max_length=3)]
    events: Annotated[tuple[OutcomeKind, ...], Field(min_length=1)] = OUTCOME_KINDS

    @field_validator("secrets")
    @classmethod
    def _keys(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for each in given:
            secret_bytes(each.get_secret_value())
        return given

    @field_validator("url")
    @classmethod
    def _plain(cls, given: str) -> str:
        parts = urlsplit(given)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("it is not an https URL")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("a URL takes neither a user nor a fragment")
        return given


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    private_hosts: tuple[HostName, ...] = ()
    endpoints: Annotated[tuple[_Entry, ...], Field(max_length=MOST_ENDPOINTS)] = ()


def endpoints_from(path: Path) -> list[Endpoint]:
    """The file's endpoints. Raises ValueError with one sentence, which holds no secret: unreadable, not of the format,
    a producer twice, or http to a host that `private_hosts` does not name."""
    try:
        document: Any = yaml.safe_load(_text_of(path))
        found = _File.model_validate(document or {})
    except OSError as error:
        raise ValueError(f"the callbacks file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{path}:{mark.line + 1 if mark else 0}: it is not YAML") from None
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None
    producers = [entry.producer for entry in found.endpoints]
    if twice := sorted({each for each in producers if producers.count(each) > 1}):
        raise ValueError(f"{path}: {', '.join(twice)} has more than one endpoint")
    return [_endpoint(entry, frozenset(found.private_hosts), path) for entry in found.endpoints]


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        written = file.read(LONGEST_FILE + 1)
    if len(written) > LONGEST_FILE:
        raise ValueError(f"the callbacks file {path} is longer than {LONGEST_FILE} bytes")
    return written.decode("utf-8")


def _endpoint(entry: _Entry, private_hosts: frozenset[str], path: Path) -> Endpoint:
    parts = urlsplit(entry.url)
    private = (parts.hostname or "").lower() in private_hosts
    if parts.scheme != "https" and not private:
        raise ValueError(f"{path}: the endpoint of {entry.producer} is not https, and private_hosts does not name it")
    if not private and _is_address(parts.hostname or "") and not is_public(parts.hostname or ""):
        raise ValueError(f"{path}: the endpoint of {entry.producer} is at no public address")
    return Endpoint(
        producer=entry.producer,
        url=entry.url,
        secrets=tuple(secret_bytes(each.get_secret_value()) for each in entry.secrets),
        kinds=frozenset(entry.events),
        private=private,
    )


def _is_address(host: str) -> bool:
    """Written as an address, a host is called without asking the resolver, so it is looked at here."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether the address is one of the open internet: nobody's private network, this machine, a metadata server, a
    multicast group, or an IPv6 form of one of these. What is no address at all is not public."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain: IPv4Address | IPv6Address = (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
    if plain in _CLOUD or plain.is_multicast or plain.is_reserved:
        return False
    if isinstance(plain, IPv6Address) and any(plain in network for network in _EMBEDS_IPV4):
        return False
    return plain.is_global
