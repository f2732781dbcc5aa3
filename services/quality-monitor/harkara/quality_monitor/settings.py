"""Settings of quality-monitor. How often it asks is policy: `telemetry.health_poll_seconds` of governance.yaml."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.addresses import GraphVersion, HttpAddress
from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Where Meta's Graph API is; the numbers and where their tokens are come from governance.yaml."""

    service: str = "quality-monitor"
    http_port: int = Field(default=8087, ge=0, le=65535)
    graph_base_url: HttpAddress = "https://graph.facebook.com"
    graph_version: GraphVersion = "v26.0"
    poll_timeout_seconds: float = Field(default=10.0, gt=0.0, le=60.0)
