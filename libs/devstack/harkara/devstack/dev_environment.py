"""What each process of the local system is told: endpoints, and secrets made for this run alone."""

import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from ruamel.yaml import YAML

from harkara.devstack.ports import HOST
from harkara.policy.governance import Governance
from harkara.runtime.api_keys import new_key

API_KEY_ID = "dev"


@dataclass(frozen=True, slots=True)
class Instance:
    """One process: the service's name, its own name (stable over restarts), and its port's name in the table."""

    service: str
    name: str
    port: str


SIMULATOR = Instance("graph-simulator", "simulator-0", "graph-simulator")
SERVICES: tuple[Instance, ...] = (
    Instance("outcome-notifier", "outcome-notifier-0", "outcome-notifier"),
    Instance("message-state", "message-state-0", "message-state"),
    Instance("sla-tracker", "sla-tracker-0", "sla-tracker"),
    Instance("quality-monitor", "quality-monitor-0", "quality-monitor"),
    Instance("template-manager", "template-manager-0", "template-manager"),
    Instance("dispatcher", "dispatcher-0", "dispatcher"),
    Instance("dispatcher", "dispatcher-1", "dispatcher-2"),  # two share the lanes: a kill shows a takeover
    Instance("window-router", "router-0", "window-router"),
    Instance("compliance-guard", "guard-0", "compliance-guard"),
    Instance("console", "console-0", "console"),
    Instance("ingestion", "ingestion-0", "ingestion"),
)
"""In the order they are started: downstream first, so that the order of stopping is the flow of a message."""


@dataclass(frozen=True, slots=True)
class RunSecrets:
    """Kept in the run's directory: a restart of the same run must find the same people under the same pseudonyms."""

    run_id: str
    pepper: str
    app_secret: str
    verify_token: str
    api_key: str
    api_key_sha256: str


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where things are in this run."""

    bootstrap: str
    topic_prefix: str
    postgres_dsn: str
    ports: Mapping[str, int]

    def url(self, port_name: str) -> str:
        return f"http://{HOST}:{self.ports[port_name]}"


def load_or_make_secrets(run_dir: Path) -> RunSecrets:
    """From `<run_dir>/secrets.json`, made (mode 0600) where it is missing."""
    path = run_dir / "secrets.json"
    if path.exists():
        return RunSecrets(**orjson.loads(path.read_bytes()))
    api_key, digest = new_key(API_KEY_ID)
    made = RunSecrets(
        run_id=secrets.token_hex(4),
        pepper=secrets.token_urlsafe(32),
        app_secret=secrets.token_hex(16),
        verify_token=secrets.token_urlsafe(24),
        api_key=api_key,
        api_key_sha256=digest,
    )
    write_private(path, orjson.dumps(asdict(made), option=orjson.OPT_INDENT_2).decode())
    return made


def write_private(path: Path, text: str) -> None:
    """Readable by us alone from its first byte, and whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.rename(path)


def write_api_keys(run_dir: Path, made: RunSecrets) -> Path:
    """The file that ingestion and the console read; it holds the key's hash only."""
    path = run_dir / "api-keys.yaml"
    key = f"  - {{id: {API_KEY_ID}, name: local development, sha256: {made.api_key_sha256}}}\n"
    write_private(path, f"keys:\n{key}")
    return path


def write_shell_environment(run_dir: Path, made: RunSecrets, endpoints: Endpoints) -> Path:
    """`stack.env`, to be sourced by a shell that wants to talk to this run."""
    values = {
        "HARKARA_KAFKA_BOOTSTRAP": endpoints.bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": endpoints.topic_prefix,
        "HARKARA_POSTGRES_DSN": endpoints.postgres_dsn,
        "HARKARA_PEPPER": made.pepper,
        "HARKARA_API_KEY": made.api_key,
        "HARKARA_INGESTION_URL": endpoints.url("ingestion"),
        "HARKARA_CONSOLE_URL": endpoints.url("console"),
        "HARKARA_SIMULATOR_URL": endpoints.url("graph-simulator"),
    }
    path = run_dir / "stack.env"
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    return path


def number_tokens(governance: Governance, world_file: Path) -> dict[str, str]:
    """Variable -> access token for every number of `governance` with a `token_env`, from the simulator's world.

    A number that the world does not have gets none: its service says so itself.
    """
    document = YAML(typ="safe").load(world_file.read_text("utf-8")) or {}
    accounts = document.get("wabas", [])
    known = {
        str(number["phone_number_id"]): str(number.get("token") or account.get("token") or "")
        for account in accounts
        for number in account.get("numbers", [])
    }
    wanted = ((number.token_env, known.get(number.phone_number_id)) for number in governance.numbers)
    return {variable: token for variable, token in wanted if variable and token}


def environment(
    instance: Instance,
    inherited: Mapping[str, str],
    made: RunSecrets,
    endpoints: Endpoints,
    run_dir: Path,
    governance_file: Path,
    world_file: Path,
    tokens: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of one process. Each gets only the secrets it works with.

    What the caller's environment says of Kafka's security, logs and the like is passed on; endpoints are this run's.
    """
    shared = {
        "HARKARA_KAFKA_BOOTSTRAP": endpoints.bootstrap,
        "HARKARA_KAFKA_TOPIC_PREFIX": endpoints.topic_prefix,
        "HARKARA_PARTITIONS": inherited.get("HARKARA_PARTITIONS", "6"),
        "HARKARA_REPLICATION_FACTOR": inherited.get("HARKARA_REPLICATION_FACTOR", "1"),
        "HARKARA_GOVERNANCE_FILE": str(governance_file.resolve()),
        "HARKARA_PEPPER": made.pepper,
        "HARKARA_DATA_DIR": str(run_dir.resolve() / "data" / instance.name),
        "HARKARA_GRAPH_BASE_URL": endpoints.url("graph-simulator"),
        "PYTHONUNBUFFERED": "1",
    }
    api_keys = {"HARKARA_API_KEYS_FILE": str(run_dir.resolve() / "api-keys.yaml")}
    own: dict[str, dict[str, str]] = {
        "ingestion": {"HARKARA_APP_SECRETS": made.app_secret, "HARKARA_VERIFY_TOKEN": made.verify_token, **api_keys},
        "message-state": dict(api_keys),
        "console": {"HARKARA_POSTGRES_DSN": endpoints.postgres_dsn, **api_keys},
        "dispatcher": dict(tokens),
        "quality-monitor": dict(tokens),
        "template-manager": dict(tokens),
        "graph-simulator": {
            "HARKARA_SIM_LATENCY_MS": inherited.get("HARKARA_SIM_LATENCY_MS", "60"),  # about what Meta takes
            "HARKARA_SIM_WEBHOOK_URL": endpoints.url("ingestion") + "/webhooks/meta",
            "HARKARA_SIM_APP_SECRET": made.app_secret,
            "HARKARA_SIM_WORLD_FILE": str(world_file.resolve()),
            "HARKARA_SIM_LEDGER_FILE": str(run_dir.resolve() / "ledger.jsonl"),
        },
    }
    return {**inherited, **shared, **own.get(instance.service, {})}
