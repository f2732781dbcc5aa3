"""Settings of the compliance guard: what may be sent is in governance.yaml, not here."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own beyond its name and port."""

    service: str = "compliance-guard"
    http_port: int = Field(default=8082, ge=0, le=65535)
