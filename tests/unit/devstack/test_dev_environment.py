import hashlib
import stat
from pathlib import Path

import pytest

from harkara.devstack.dev_environment import (
    SERVICES,
    SIMULATOR,
    Endpoints,
    RunSecrets,
    environment,
    load_or_make_secrets,
    number_tokens,
    write_api_keys,
    write_shell_environment,
)
from harkara.devstack.ports import DEFAULT_PORTS
from harkara.policy.governance import load
from harkara.runtime.api_keys import ApiKeys

EXAMPLES = Path(__file__).parents[3] / "examples"
ENDPOINTS = Endpoints("127.0.0.1:19092", "p.", "postgresql://postgres@/postgres?host=/run/x y", DEFAULT_PORTS)
TOKENS = {"HARKARA_TOKEN_100000000000001": "EAATEST-demo-one"}


def told(service: str, tmp_path: Path, inherited: dict[str, str] | None = None) -> dict[str, str]:
    instance = next(each for each in (SIMULATOR, *SERVICES) if each.service == service)
    made = load_or_make_secrets(tmp_path)
    return environment(instance, inherited or {}, made, ENDPOINTS, tmp_path, Path("g.yaml"), Path("w.yaml"), TOKENS)


def test_secrets_are_kept_for_a_restart_and_private(tmp_path: Path) -> None:
    made = load_or_make_secrets(tmp_path)
    assert load_or_make_secrets(tmp_path) == made
    assert load_or_make_secrets(tmp_path / "other") != made
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert len(made.pepper) >= 16


def test_the_key_file_is_what_the_services_read(tmp_path: Path) -> None:
    made = load_or_make_secrets(tmp_path)
    keys = ApiKeys.from_file(write_api_keys(tmp_path, made))
    found = keys.find(made.api_key)
    assert found is not None
    assert found.sender is None
    assert keys.find(made.api_key + "x") is None
    assert made.api_key_sha256 == hashlib.sha256(made.api_key.encode()).hexdigest()


def test_each_process_gets_only_the_secrets_it_works_with(tmp_path: Path) -> None:
    made: RunSecrets = load_or_make_secrets(tmp_path)
    holders = {
        secret: {each.service for each in (SIMULATOR, *SERVICES) if secret in told(each.service, tmp_path).values()}
        for secret in (made.app_secret, made.verify_token, "EAATEST-demo-one", ENDPOINTS.postgres_dsn)
    }
    assert holders == {
        made.app_secret: {"ingestion", "graph-simulator"},
        made.verify_token: {"ingestion"},
        "EAATEST-demo-one": {"dispatcher", "quality-monitor", "template-manager"},
        ENDPOINTS.postgres_dsn: {"console"},
    }


def test_the_simulator_calls_ingestion_with_the_secret_it_expects(tmp_path: Path) -> None:
    simulator, ingestion = told("graph-simulator", tmp_path), told("ingestion", tmp_path)
    assert simulator["HARKARA_SIM_WEBHOOK_URL"] == "http://127.0.0.1:8080/webhooks/meta"
    assert simulator["HARKARA_SIM_APP_SECRET"] == ingestion["HARKARA_APP_SECRETS"]


def test_the_run_decides_endpoints_and_the_caller_the_rest(tmp_path: Path) -> None:
    inherited = {"HARKARA_KAFKA_BOOTSTRAP": "elsewhere:1", "HARKARA_LOG_LEVEL": "DEBUG", "PATH": "/bin"}
    got = told("dispatcher", tmp_path, inherited)
    assert got["HARKARA_KAFKA_BOOTSTRAP"] == ENDPOINTS.bootstrap
    assert (got["HARKARA_LOG_LEVEL"], got["PATH"]) == ("DEBUG", "/bin")
    assert (got["HARKARA_PARTITIONS"], got["HARKARA_REPLICATION_FACTOR"]) == ("6", "1")
    assert told("dispatcher", tmp_path, {"HARKARA_PARTITIONS": "12"})["HARKARA_PARTITIONS"] == "12"


def test_instances_are_distinct_and_have_a_port_each() -> None:
    every = (SIMULATOR, *SERVICES)
    assert len({each.name for each in every}) == len(every)
    assert len({each.port for each in every}) == len(every)
    assert {each.port for each in every} <= DEFAULT_PORTS.keys()
    assert sum(each.service == "dispatcher" for each in every) == 2


def test_tokens_come_from_the_simulators_world() -> None:
    tokens = number_tokens(load(EXAMPLES / "governance.yaml"), EXAMPLES / "world.yaml")
    assert set(tokens) == {f"HARKARA_TOKEN_10000000000000{n}" for n in (1, 2, 3)}
    assert len(set(tokens.values())) == 3
    assert all(token.startswith("EAATEST") for token in tokens.values())


@pytest.mark.parametrize("number_token", ["", ", token: null"])
def test_a_number_without_its_own_token_uses_its_accounts(tmp_path: Path, number_token: str) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(
        f'wabas: [{{id: "1", token: EAATEST-account, numbers: [{{phone_number_id: "100000000000001"{number_token}}}]}}]'
    )
    assert number_tokens(load(EXAMPLES / "governance.yaml"), world) == {
        "HARKARA_TOKEN_100000000000001": "EAATEST-account"
    }


def test_the_shell_file_is_private_and_quoted(tmp_path: Path) -> None:
    path = write_shell_environment(tmp_path, load_or_make_secrets(tmp_path), ENDPOINTS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "HARKARA_POSTGRES_DSN='postgresql://postgres@/postgres?host=/run/x y'\n" in path.read_text()
