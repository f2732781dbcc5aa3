"""What ingestion is told by its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from harkara.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """HARKARA_APP_SECRETS: comma separated, two hold during a rotation. HARKARA_API_KEYS_FILE: see runtime.api_keys."""

    service: str = "ingestion"
    http_port: int = Field(default=8080, ge=0, le=65535)
    app_secrets: SecretStr = SecretStr("")
    verify_token: SecretStr = SecretStr("")
    api_keys_file: Path = Path("api-keys.yaml")
    queue_full_above: int = Field(default=1000, ge=1, le=1_000_000)  # waiting messages of a number (ING-12)
    write_timeout_seconds: float = Field(default=4.0, gt=0, le=15)  # with the rest of a request under Meta's 5 s
    spool_after_seconds: float = Field(default=2.0, gt=0, le=4)  # Kafka's acknowledgements take milliseconds
    webhook_spool_max_bytes: int = Field(default=512 * 1024 * 1024, ge=0)  # 300/s for 40 minutes; 0: no spool, 503

    def webhook_secrets(self) -> tuple[str, ...]:
        """The app secrets that may sign webhooks. Raises ValueError where there is none: nothing could be believed."""
        secrets = tuple(part.strip() for part in self.app_secrets.get_secret_value().split(",") if part.strip())
        if not secrets:
            raise ValueError("HARKARA_APP_SECRETS must hold the Meta app's secret (several, comma separated, rotating)")
        return secrets

    def webhook_verify_token(self) -> str:
        """The token of Meta's handshake. Raises ValueError where it is empty: anyone could then subscribe us."""
        token = self.verify_token.get_secret_value()
        if not token:
            raise ValueError("HARKARA_VERIFY_TOKEN must hold the verify token that was given to Meta")
        return token
