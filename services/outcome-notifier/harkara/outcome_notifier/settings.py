"""Settings of outcome-notifier."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """`callbacks_file` names producers' endpoints; without it outcomes are only on their topic. A callback is tried
    until its outcome is `callback_give_up_hours` old (Standard Webhooks asks for a day or more), each time for
    `callback_timeout_seconds` at most."""

    service: str = "outcome-notifier"
    http_port: int = Field(default=8091, ge=0, le=65535)
    callbacks_file: Path | None = None
    callback_give_up_hours: float = Field(default=24.0, gt=0.0, le=144.0)
    callback_timeout_seconds: float = Field(default=10.0, gt=0.0, le=30.0)
