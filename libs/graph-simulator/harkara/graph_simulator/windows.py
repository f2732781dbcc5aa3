"""Customer service windows: open for 24 hours after a person last wrote to a number (or called it)."""

from __future__ import annotations

WINDOW_SECONDS = 86_400.0
MAX_WINDOWS = 1_000_000
"""Open service windows remembered; beyond it the closed ones are dropped."""


class Windows:
    """When each person last wrote to each number."""

    def __init__(self) -> None:
        self._wrote_at: dict[tuple[str, str], float] = {}

    def open(self, phone_number_id: str, person: str, now: float) -> None:
        """The person wrote."""
        if len(self._wrote_at) >= MAX_WINDOWS:
            self._wrote_at = {pair: at for pair, at in self._wrote_at.items() if now - at < WINDOW_SECONDS}
        self._wrote_at[phone_number_id, person] = now

    def is_open(self, phone_number_id: str, person: str, now: float, seconds: float = WINDOW_SECONDS) -> bool:
        """Whether the person wrote within the last `seconds`."""
        wrote_at = self._wrote_at.get((phone_number_id, person))
        return wrote_at is not None and now - wrote_at <= seconds
