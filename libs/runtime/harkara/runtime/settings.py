"""Settings that every service has. Environment variables hold endpoints and secrets; policy is in governance.yaml."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from harkara.contracts.topics import Topic
from harkara.runtime.addresses import HttpAddress


class KafkaSettings(BaseSettings):
    """Where Kafka is and how to speak to it. `topic_prefix` lets several environments share one cluster."""

    model_config = SettingsConfigDict(env_prefix="HARKARA_KAFKA_", frozen=True)

    bootstrap: str = "127.0.0.1:19092"
    topic_prefix: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None

    @model_validator(mode="after")
    def _credentials_where_needed(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(
                "HARKARA_KAFKA_SASL_USERNAME and HARKARA_KAFKA_SASL_PASSWORD are needed with "
                f"HARKARA_KAFKA_SECURITY_PROTOCOL={self.security_protocol}"
            )
        return self

    def topic(self, topic: Topic) -> str:
        """The topic's name on this cluster."""
        return self.topic_prefix + topic.name

    def group(self, name: str) -> str:
        """A consumer group's or transaction's name on this cluster."""
        return self.topic_prefix + name

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS 1.3 for Kafka, or None where the protocol has no TLS."""
        if "SSL" not in self.security_protocol:
            return None
        context = ssl.create_default_context(cafile=str(self.ssl_ca_file) if self.ssl_ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.ssl_cert_file is not None:
            context.load_cert_chain(str(self.ssl_cert_file), str(self.ssl_key_file) if self.ssl_key_file else None)
        return context

    def aiokafka_options(self) -> dict[str, Any]:
        """Connection options of aiokafka's clients."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security_protocol}
        if context := self.ssl_context():
            options["ssl_context"] = context
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options

    def librdkafka_options(self) -> dict[str, Any]:
        """Connection options of confluent-kafka's clients."""
        options: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        files = {
            "ssl.ca.location": self.ssl_ca_file,
            "ssl.certificate.location": self.ssl_cert_file,
            "ssl.key.location": self.ssl_key_file,
        }
        options |= {name: str(path) for name, path in files.items() if path is not None}
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.get_secret_value(),
            }
        return options


class ServiceSettings(BaseSettings):
    """What every service is told. A service's own Settings extends it."""

    model_config = SettingsConfigDict(env_prefix="HARKARA_", frozen=True, extra="ignore")

    service: str = "service"
    instance: str = "local"
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    partitions: int = Field(default=24, ge=1, le=1000)
    replication_factor: int = Field(default=3, ge=1, le=9)
    governance_file: Path = Path("governance.yaml")
    pepper: SecretStr = SecretStr("")
    http_host: str = "0.0.0.0"  # noqa: S104  a container's port is published by its orchestrator, not by this address
    http_port: int = Field(default=8080, ge=0, le=65535)
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    data_dir: Path = Path(".harkara/data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    traces: Literal["none", "console", "otlp"] = "none"
    otlp_endpoint: HttpAddress = "http://127.0.0.1:4318/v1/traces"
    linger_seconds: float = 0.005
    broker_session_timeout_seconds: float = 8.0  # a killed worker's partitions stall this long; Faust's default is 60

    def pepper_bytes(self) -> bytes:
        """The key of the pseudonyms. Raises ValueError if it is too short to be one."""
        pepper = self.pepper.get_secret_value().encode()
        if len(pepper) < 16:
            raise ValueError("HARKARA_PEPPER must hold at least 16 characters; every service needs the same one")
        return pepper
