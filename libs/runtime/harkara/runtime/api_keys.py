"""Who may call our HTTP APIs: keys whose SHA-256 is in a YAML file; the keys themselves are nowhere.

    keys:
      - id: shop                # the part before the dot of the key's text; may be logged
        name: the web shop
        sha256: 9f86d0...       # hexadecimal, of the whole key's text `<id>.<secret>`
        sender: "100000000000001"   # optional: the key speaks for this number or pool alone
        roles: [send, read]     # optional: what it may do (`Role`); left out: everything

A secret is 256 random bits, so a plain hash cannot be searched; `new_key` makes one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from harkara.contracts.envelope import explain
from harkara.contracts.event import Home
from harkara.runtime.problems import Problem

LONGEST_KEY = 512  # characters looked at: ours have about 80; a longer header is nobody's key
_NOBODY = "0" * 64  # compared with where the id is unknown, so that an id cannot be guessed by timing


Role = Literal["send", "control", "consent", "read"]
"""send: messages and runs, and what would become of them. control: pause, resume, cancel, halt, prioritise, resolve.
consent: record what persons said. read: look at anything."""
EVERY_ROLE: frozenset[Role] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A caller. `sender` is the one number or pool that the key speaks for; None: any. `roles`: what it may do."""

    id: str
    name: str
    sender: str | None = None
    roles: frozenset[Role] = EVERY_ROLE

    def require(self, role: Role) -> None:
        """Raises Problem 403 ROLE_REQUIRED for a key without that role (ING-18)."""
        if role not in self.roles:
            raise Problem(403, "ROLE_REQUIRED", "The API key may not do this", f"It needs the role `{role}`.")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
    sender: Home | None = None
    roles: Annotated[frozenset[Role], Field(min_length=1)] = EVERY_ROLE


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[_Entry, ...] = Field(default=(), max_length=10_000)


class ApiKeys:
    """The known keys, looked up by id and compared in constant time."""

    def __init__(self, entries: Iterable[tuple[ApiKey, str]]) -> None:
        self._by_id = {key.id: (key, digest) for key, digest in entries}

    @classmethod
    def from_file(cls, path: Path | str) -> ApiKeys:
        """Read the YAML file. Raises ValueError with one sentence: unreadable, not of the format, or an id twice."""
        try:
            document: Any = yaml.safe_load(Path(path).read_text("utf-8"))
            found = _File.model_validate(document or {})
        except OSError as error:
            raise ValueError(f"the API keys file {path} cannot be read: {error.strerror}") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise ValueError(f"{path}:{line}: {error.problem}") from None
        except ValidationError as error:
            raise ValueError(f"{path}: {explain(error)}") from None
        ids = [entry.id for entry in found.keys]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"{path}: the id {', '.join(twice)} is given to more than one key")
        return cls((ApiKey(entry.id, entry.name, entry.sender, entry.roles), entry.sha256) for entry in found.keys)

    def authenticate(self, header_authorization: str | None, header_x_api_key: str | None = None) -> ApiKey:
        """The caller, from `Authorization: Bearer <key>` or, without one, `X-API-Key: <key>`.

        Raises Problem 401 UNAUTHORIZED, in the same words whether the header, the id or the secret is wrong.
        """
        scheme, _, bearer = (header_authorization or "").strip().partition(" ")
        text = bearer.strip() if scheme.lower() == "bearer" else (header_x_api_key or "").strip()
        found = self.find(text)
        if found is None:
            raise Problem(
                401,
                "UNAUTHORIZED",
                "A valid API key is needed",
                "Send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found

    def known(self, key_id: str) -> ApiKey | None:
        """The key of that id, for a caller whose session says that it has authenticated before."""
        found = self._by_id.get(key_id)
        return found[0] if found else None

    def find(self, text: str) -> ApiKey | None:
        """The caller whose key's text this is, or None."""
        if not text or len(text) > LONGEST_KEY:
            return None
        key, digest = self._by_id.get(text.partition(".")[0], (None, _NOBODY))
        given = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return key if hmac.compare_digest(given, digest) else None


def new_key(key_id: str) -> tuple[str, str]:
    """A new key's text, `<id>.<43 characters>`, to be shown once, and the `sha256` that goes into the file."""
    text = f"{key_id}.{secrets.token_urlsafe(32)}"
    return text, hashlib.sha256(text.encode()).hexdigest()
