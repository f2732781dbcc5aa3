"""The stack's own work, on a part of the services: servers, topics, environments, a crash, an orderly end."""

import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from harkara.devstack.dev_environment import SERVICES
from harkara.devstack.errors import MissingToolError, PortTakenError, StartFailedError
from harkara.devstack.ports import DEFAULT_PORTS, HOST, free_ports, is_free, port_variable
from harkara.devstack.stack import Stack, StackConfig, Step
from harkara.devstack.supervisor import ProcessEvent, ProcessState
from tests.support.wait import eventually

EXAMPLES = Path(__file__).parents[3] / "examples"
PART = tuple(each for each in SERVICES if each.service in ("message-state", "ingestion"))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="harkara-stack-test-"))
    yield directory / "run"
    shutil.rmtree(directory)


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, int]:
    """Every port somewhere free, as a developer would move them."""
    chosen = dict(zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True))
    for name, port in chosen.items():
        monkeypatch.setenv(port_variable(name), str(port))
    return chosen


def config(run_dir: Path) -> StackConfig:
    return StackConfig(run_dir, EXAMPLES / "governance.yaml", EXAMPLES / "world.yaml", services=PART)


async def test_up_killed_back_and_down(run_dir: Path, ports: Mapping[str, int]) -> None:
    steps: list[Step] = []
    events: list[ProcessEvent] = []
    async with Stack(config(run_dir), on_step=steps.append, on_event=events.append) as stack:
        names = [step.name for step in steps]
        assert set(names) == {"kafka", "postgres", "topics", "simulator-0", "message-state-0", "ingestion-0"}
        assert names.index("topics") > names.index("kafka")
        await _the_webhook_is_ours(stack)
        killed = stack.kill("ingestion")
        await eventually(lambda: [event.state for event in events][-1:] == [ProcessState.RUNNING])
        await stack.supervisor.wait_ready([killed])
        pids = [stack.supervisor.pid(name) for name in stack.supervisor.instances()]
        assert f"HARKARA_API_KEY={stack.api_key}\n" in (run_dir / "stack.env").read_text()
    assert all(pid is not None and not Path(f"/proc/{pid}").exists() for pid in pids)
    assert all(is_free(port) for port in ports.values())


async def _the_webhook_is_ours(stack: Stack) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        query = {"hub.mode": "subscribe", "hub.challenge": "42", "hub.verify_token": stack.secrets.verify_token}
        answer = await client.get(stack.endpoints.url("ingestion") + "/webhooks/meta", params=query)
        assert (answer.status_code, answer.text) == (200, "42")


async def test_a_taken_port_stops_it_before_anything_starts(run_dir: Path, ports: Mapping[str, int]) -> None:
    stack = Stack(config(run_dir))
    with (
        socket.create_server((HOST, ports["ingestion"])),
        pytest.raises(PortTakenError, match="set HARKARA_PORT_INGESTION to another"),
    ):
        await stack.start()
    assert stack.supervisor.instances() == ()
    assert not (run_dir / "kafka").exists()


async def test_a_failed_start_leaves_nothing_running(run_dir: Path, ports: Mapping[str, int]) -> None:
    console = next(each for each in SERVICES if each.service == "console")
    broken = StackConfig(
        run_dir,
        EXAMPLES / "governance.yaml",
        EXAMPLES / "world.yaml",
        extra_env={"console": {"HARKARA_POSTGRES_POOL_SIZE": "0"}},
        services=(console,),
    )
    with pytest.raises(StartFailedError, match="postgres_pool_size"):
        await Stack(broken).start()
    assert all(is_free(port) for port in ports.values())


async def test_no_java_is_its_one_sentence(
    run_dir: Path, ports: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HARKARA_KAFKA_BOOTSTRAP", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingToolError, match="install a JDK 17 or newer"):
        await Stack(config(run_dir)).start()
    assert all(is_free(port) for port in ports.values())
