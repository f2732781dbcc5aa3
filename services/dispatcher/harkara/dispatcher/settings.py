"""Every setting of the dispatcher. What a lane may do is policy and stands in governance.yaml."""

from __future__ import annotations

from pydantic import Field

from harkara.runtime.addresses import GraphVersion, HttpAddress
from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """From the environment, prefix HARKARA_. `instance` is the static membership's id: stable over restarts."""

    service: str = "dispatcher"
    http_port: int = Field(default=8084, ge=0, le=65535)
    cluster: str = "main"  # in the transactional ids: mirrored clusters must not fence each other
    graph_base_url: HttpAddress = "https://graph.facebook.com"
    graph_version: GraphVersion = "v26.0"
    failpoints: str = ""
    group_session_timeout_seconds: float = Field(default=10.0, ge=1, le=60)
    commit_interval_seconds: float = Field(default=0.015, ge=0.001, le=1.0)
    linger_seconds: float = 0.02  # of the events: those of a round in one or two requests, not five
