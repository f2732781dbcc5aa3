"""The console's settings; units are in the names."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """`postgres_dsn` is a libpq connection string: `sslmode=verify-full sslrootcert=...` in it turns TLS on."""

    service: str = "console"
    http_port: int = Field(default=8081, ge=0, le=65535)
    postgres_dsn: SecretStr
    postgres_pool_size: int = Field(default=8, ge=2, le=100)  # 1 for the read side, the others for readers
    api_keys_file: Path = Path("api-keys.yaml")
    session_hours: int = Field(default=12, ge=1, le=168)  # a shift
    live_interval_seconds: float = Field(default=0.4, ge=0.1, le=3600)  # with the look itself within 500 ms (WHK-13)
    live_gap_seconds: float = Field(default=0.08, ge=0.02, le=10)  # what comes just after a look waits so long
    live_clients: int = Field(default=100, ge=1, le=10_000)  # open pages; each costs a socket and a small queue
