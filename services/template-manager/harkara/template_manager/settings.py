"""Settings of template-manager. How often it reads the lists is policy: `templates.sync_minutes` of governance.yaml."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.addresses import GraphVersion, HttpAddress
from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Where Meta's Graph API is; the accounts and where their tokens are come from governance.yaml."""

    service: str = "template-manager"
    http_port: int = Field(default=8089, ge=0, le=65535)
    graph_base_url: HttpAddress = "https://graph.facebook.com"
    graph_version: GraphVersion = "v26.0"
    read_timeout_seconds: float = Field(default=20.0, gt=0.0, le=60.0)
