"""The numbers' access tokens: from the environment or a file each, read anew when the file changes.

A file is how a token is rotated without a restart (a Secret that Kubernetes swaps under the mount): a changed one
counts within a second, at the next call. A variable of the environment lasts as long as the process.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from harkara.graph_api.token import UnusableToken, token_in
from harkara.policy.governance import Number

log = structlog.get_logger()

LOOK_SECONDS = 1.0  # between two looks at a file: a number sends up to a thousand times a second


class NoToken(Exception):
    """The number's token is not to be had now."""


@dataclass(frozen=True, slots=True)
class _Read:
    token: str
    stamp: tuple[int, int, int]
    looked_at: float


class Tokens:
    """What every number sends with. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._files: dict[Path, _Read] = {}
        self._missing: dict[str, str] = {}

    def of(self, number: Number) -> str:
        """The number's token. Raises NoToken."""
        if number.token_file is not None:
            return self._in_file(number.token_file)
        token = _usable(os.environ.get(number.token_env or "", ""), str(number.token_env))
        if not token:
            raise NoToken(f"{number.token_env} is empty")
        return token

    def mark(self, number: Number) -> str:
        """The same for the same token, and nothing can be learnt from it; empty where there is no token now. Why there
        is none is logged, once for each reason: its number is held, so no call says it."""
        try:
            mark = hashlib.blake2b(self.of(number).encode(), digest_size=8).hexdigest()
        except NoToken as error:
            if self._missing.get(number.phone_number_id) != str(error):
                self._missing[number.phone_number_id] = str(error)
                log.error("token_missing", phone_number_id=number.phone_number_id, reason=str(error))
            return ""
        self._missing.pop(number.phone_number_id, None)
        return mark

    def _in_file(self, path: Path) -> str:
        known, now = self._files.get(path), self._monotonic()
        if known is not None and now < known.looked_at + LOOK_SECONDS:
            return known.token
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            unchanged = known is not None and known.stamp == stamp
            token = known.token if known is not None and unchanged else _usable(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            self._files.pop(path, None)
            raise NoToken(f"{path}: {type(error).__name__}") from None
        except NoToken:
            self._files.pop(path, None)
            raise
        if not token:
            self._files.pop(path, None)
            raise NoToken(f"{path} is empty")
        self._files[path] = _Read(token, stamp, now)
        return token


def _usable(text: str, where: str) -> str:
    """The token in it, maybe empty. Raises NoToken with a sentence where no header can carry it."""
    try:
        return token_in(text)
    except UnusableToken as error:
        raise NoToken(f"{where}: {error}") from None
