"""Services forked from one process: each a process of its own, with its own environment, output, life and death."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from harkara.devstack.forked import ForkServer, can_fork
from harkara.devstack.ports import free_ports
from harkara.devstack.restart_policy import RestartPolicy
from harkara.devstack.supervisor import ProcessSpec, ProcessState, Supervisor, service_process
from tests.support.wait import eventually

WORLD = Path("examples/world.yaml").resolve()

pytestmark = pytest.mark.skipif(not can_fork(), reason="services are forked on Linux alone; elsewhere they are run")


def simulator(instance: str, **env: str) -> ProcessSpec:
    (port,) = free_ports(1)
    told = {
        "HARKARA_SIM_WORLD_FILE": str(WORLD),
        "HARKARA_APP_SECRETS": "x" * 32,
        "HARKARA_VERIFY_TOKEN": "v" * 16,
    }
    return service_process("graph-simulator", instance, port, {"PATH": os.environ["PATH"], **told, **env})


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    made = Supervisor(tmp_path, policy=RestartPolicy(limit=2, window_seconds=60, first_delay_seconds=0.01))
    yield made
    await made.stop(timeout_seconds=5)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_two_services_are_two_processes_of_one_parent(supervisor: Supervisor, tmp_path: Path) -> None:
    first, second = simulator("sim-0"), simulator("sim-1")
    await supervisor.start(first)
    await supervisor.start(second)
    await supervisor.wait_ready(timeout_seconds=30)
    pids = [supervisor.pid("sim-0"), supervisor.pid("sim-1")]
    assert None not in pids and pids[0] != pids[1]
    assert len({parent_of(pid) for pid in pids if pid is not None}) == 1
    assert [os.getsid(pid) for pid in pids if pid is not None] == pids
    for instance, spec in (("sim-0", first), ("sim-1", second)):
        assert f'"port": {spec.env["HARKARA_HTTP_PORT"]}' in (tmp_path / "logs" / f"{instance}.log").read_text()
        assert spec.ready_url is not None
        shown = httpx.get(spec.ready_url.replace("readyz", "metrics")).text
        assert "harkara_loop" not in shown and "faust" not in shown  # what only others declare is not here


async def test_a_killed_one_is_forked_again_and_stopped_in_order(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(simulator("sim-0"))
    await supervisor.wait_ready(timeout_seconds=30)
    first = supervisor.pid("sim-0")
    supervisor.kill("sim-0")
    await eventually(lambda: supervisor.pid("sim-0") not in (None, first))
    await supervisor.wait_ready(timeout_seconds=30)
    await supervisor.stop(timeout_seconds=20)
    assert supervisor.state("sim-0") is ProcessState.STOPPED
    log = (tmp_path / "logs" / "sim-0.log").read_text()
    assert log.count('"service_started"') == 2 and log.count('"service_stopped"') == 1


async def test_wrong_settings_are_said_in_the_log_with_a_status(tmp_path: Path) -> None:
    server = ForkServer(tmp_path / "forkserver.log")
    spec = simulator("sim-0", HARKARA_HTTP_PORT="many")
    log = tmp_path / "sim-0.log"
    child = await server.start("sim-0", "graph-simulator", {**spec.env, "HARKARA_HTTP_PORT": "many"}, log)
    assert await child.wait() == 1
    assert "graph-simulator: http_port" in log.read_text()
    await server.close()


async def test_a_dead_fork_server_takes_its_children_along_and_all_come_back(supervisor: Supervisor) -> None:
    await supervisor.start(simulator("sim-0"))
    await supervisor.wait_ready(timeout_seconds=30)
    first = supervisor.pid("sim-0")
    assert first is not None
    os.kill(parent_of(first), signal.SIGKILL)
    await eventually(lambda: supervisor.pid("sim-0") not in (None, first), timeout_seconds=20)
    await supervisor.wait_ready(timeout_seconds=30)


async def test_what_is_no_service_is_run_as_it_says(supervisor: Supervisor) -> None:
    await supervisor.start(ProcessSpec("a-0", (sys.executable, "-c", "import time; time.sleep(60)"), {}))
    pid = supervisor.pid("a-0")
    assert pid is not None
    assert parent_of(pid) == os.getpid()
