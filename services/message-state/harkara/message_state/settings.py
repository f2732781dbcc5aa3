"""Settings of message-state."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """A state is forgotten once its newest event is `forget_after_days` old: the lifecycle topic keeps 30 days, so a
    table rebuilt from it would not know the message either; and nothing moves any more 6 days after its intent.

    Without `api_keys_file` states are on their topic alone, not served by id. `look_seconds` is how often the messages
    of which nothing is heard are looked at.
    """

    service: str = "message-state"
    http_port: int = Field(default=8086, ge=0, le=65535)
    forget_after_days: float = Field(default=25.0, gt=7.0, le=29.0)
    api_keys_file: Path | None = None
    look_seconds: float = Field(default=5.0, gt=0.0, le=60.0)
