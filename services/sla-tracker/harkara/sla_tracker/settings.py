"""Settings of sla-tracker."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """`publish_seconds` is how often the counts of a run that moves are published. A message is forgotten
    `forget_after_days` after its newest event, within the 30 days that its source is kept."""

    service: str = "sla-tracker"
    http_port: int = Field(default=8088, ge=0, le=65535)
    publish_seconds: float = Field(default=0.5, gt=0.0, le=60.0)
    settle_seconds: float = Field(default=5.0, ge=0.0, le=300.0)
    forget_after_days: float = Field(default=25.0, gt=7.0, le=29.0)
