"""Every setting of the simulator; environment variables HARKARA_SIM_*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from harkara.graph_simulator.scenario import Scenario
from harkara.runtime.settings import ServiceSettings


class ScenarioSettings(BaseSettings, Scenario):
    """The scenario at start: HARKARA_SIM_LATENCY_MS, HARKARA_SIM_FATES='{"response_lost": 0.1}', and so on."""

    model_config = SettingsConfigDict(env_prefix="HARKARA_SIM_", extra="ignore", frozen=True)


def scenario_from_environment() -> Scenario:
    """The scenario that the environment asks for."""
    return Scenario.model_validate(ScenarioSettings().model_dump())


class Settings(ServiceSettings):
    """HARKARA_SIM_WEBHOOK_URL and the rest. Without a webhook URL no webhook is made. Kafka is not used."""

    service: str = "graph-simulator"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8090
    sim_webhook_url: str | None = None
    sim_app_secret: SecretStr = SecretStr("simulator-app-secret")
    sim_world_file: Path | None = None
    sim_ledger_file: Path | None = None
    sim_scenario: Scenario = Field(default_factory=scenario_from_environment)
    sim_webhook_batch: Annotated[int, Field(ge=1, le=1000)] = 100
    """Updates in one POST at most; Meta's own bound is 1,000."""
    sim_webhook_linger_ms: Annotated[float, Field(ge=0, le=1000)] = 5
    """How long updates gather into one POST."""
    sim_webhook_concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """POSTs under way at once."""
    sim_webhook_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10
    sim_webhook_tries: Annotated[int, Field(ge=1, le=1000)] = 1000
    """Tries of one POST; the 7 days of retries end it after some 230."""
    sim_pending_limit: Annotated[int, Field(ge=1)] = 500_000
    """Updates waiting to go out; above it a send is refused with 131016, as an overloaded service would."""
    sim_ledger_limit: Annotated[int, Field(ge=1)] = 1_000_000
    """Accepted messages kept in memory (about 600 bytes each); above it a send is refused with 131016."""
