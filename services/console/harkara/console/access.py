"""Who is asking: an API key in a header, or the session cookie that the login form gives for one."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from fastapi import Request

from harkara.policy.governance import Governance
from harkara.runtime.api_keys import ApiKey, ApiKeys, Role
from harkara.runtime.clock import Clock
from harkara.runtime.problems import Problem

COOKIE = "harkara_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `home` is all that it may see and command; None: everything."""

    key: ApiKey
    home: str | None

    def require_everything(self) -> None:
        """Raises Problem 403 for a caller that speaks for one sender alone."""
        if self.home is not None:
            raise Problem(403, "FORBIDDEN", "This key may not do that", "It speaks for one sender alone.")


class Access:
    """Checks callers. A session is `<key id>.<expiry>.<HMAC>`: no store, the same on every instance, and over when
    its key is no longer in the file (read at the start)."""

    def __init__(self, keys: ApiKeys, governance: Governance, pepper: bytes, clock: Clock, session_hours: int) -> None:
        self._keys = keys
        self._governance = governance
        self._secret = hmac.new(pepper, b"console-session", hashlib.sha256).digest()
        self._clock = clock
        self._life = timedelta(hours=session_hours)

    def caller(self, request: Request) -> Caller:
        """The caller of a request. Raises Problem 401; and 403 for a key without the role, `read` to look and `control`
        for a command, and for a command that another site's page sent along with our cookie."""
        headers = request.headers
        role: Role = "read" if request.method in SAFE_METHODS else "control"
        if "authorization" in headers or "x-api-key" in headers:
            key = self._keys.authenticate(headers.get("authorization"), headers.get("x-api-key"))
            key.require(role)
            return self._bound(key)
        known = self._of_session(request.cookies.get(COOKIE, ""), self._clock.now())
        if known is None:
            self._keys.authenticate(None)  # raises: neither header nor session
            raise AssertionError("a request without a key was authenticated")
        if request.method not in SAFE_METHODS and not _from_our_own_page(request):
            raise Problem(403, "CROSS_SITE", "Commands by session come from our own pages only")
        known.require(role)
        return self._bound(known)

    def login(self, text: str) -> str | None:
        """The session cookie for this API key's text; None where it is nobody's."""
        key = self._keys.find(text.strip())
        if key is None:
            return None
        body = f"{key.id}.{int((self._clock.now() + self._life).timestamp())}"
        return f"{body}.{self._signature(body)}"

    @property
    def session_seconds(self) -> int:
        """How long a session lasts."""
        return int(self._life.total_seconds())

    def _of_session(self, cookie: str, now: datetime) -> ApiKey | None:
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        key_id, _, expiry = body.partition(".")
        return self._keys.known(key_id) if int(expiry) > now.timestamp() else None

    def _signature(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _bound(self, key: ApiKey) -> Caller:
        if key.sender is None:
            return Caller(key, None)
        return Caller(key, self._governance.home_of(key.sender) or key.sender)


def is_local(request: Request) -> bool:
    """Asked by a browser on this machine: no TLS is needed there, and none is to be had in `make demo`."""
    return request.url.hostname in {"127.0.0.1", "localhost", "::1"}


def _from_our_own_page(request: Request) -> bool:
    """Browsers say where a request comes from; ones too old to do so are sent away."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
