"""Settings of the window router: its rules are in governance.yaml, not here."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own beyond its name and port."""

    service: str = "window-router"
    http_port: int = Field(default=8083, ge=0, le=65535)
