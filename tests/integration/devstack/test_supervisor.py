"""Real processes: started, probed, killed, restarted, given up, stopped."""

import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harkara.devstack.errors import DevstackError, StartFailedError
from harkara.devstack.ports import HOST, free_ports
from harkara.devstack.restart_policy import RestartPolicy
from harkara.devstack.supervisor import ProcessEvent, ProcessSpec, ProcessState, Supervisor, service_process
from tests.support.wait import eventually

SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404); self.end_headers()
print("started", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True: time.sleep(60)
"""


class Run:
    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.events: list[ProcessEvent] = []
        policy = RestartPolicy(limit=2, window_seconds=60, first_delay_seconds=0.01)
        self.supervisor = Supervisor(run_dir, policy=policy, on_event=self.events.append)

    def log(self, instance: str) -> str:
        return (self.run_dir / "logs" / f"{instance}.log").read_text()

    def states(self, instance: str) -> list[ProcessState]:
        return [event.state for event in self.events if event.instance == instance]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    made = Run(tmp_path)
    yield made
    await made.supervisor.stop(timeout_seconds=2)


def server(instance: str) -> ProcessSpec:
    (port,) = free_ports(1)
    return ProcessSpec(instance, (sys.executable, "-c", SERVER, str(port)), {}, f"http://{HOST}:{port}/readyz")


async def test_a_killed_process_is_back_and_ready(run: Run) -> None:
    await run.supervisor.start(server("a-0"))
    ready: list[str] = []
    await run.supervisor.wait_ready(timeout_seconds=20, on_ready=ready.append)
    assert ready == ["a-0"]
    first = run.supervisor.pid("a-0")
    run.supervisor.kill("a-0")
    await eventually(lambda: run.supervisor.pid("a-0") not in (None, first))
    await run.supervisor.wait_ready(timeout_seconds=20)
    assert run.states("a-0") == [ProcessState.RESTARTING, ProcessState.RUNNING]
    assert "SIGKILL" in run.events[0].detail
    assert run.log("a-0").count("started") == 2


async def test_one_that_never_starts_is_given_up_with_its_last_words(run: Run) -> None:
    broken = ProcessSpec("b-0", (sys.executable, "-c", "raise SystemExit('no such number')"), {}, "http://127.0.0.1:1/")
    await run.supervisor.start(broken)
    with pytest.raises(StartFailedError, match=r"(?s)b-0 does not start; .*no such number"):
        await run.supervisor.wait_ready(timeout_seconds=20)
    assert run.supervisor.state("b-0") is ProcessState.GIVEN_UP
    assert run.log("b-0").count("no such number") == 3  # the first start and two restarts
    assert "ended with status 1, 3 times in 60 s: given up" in run.events[-1].detail
    with pytest.raises(DevstackError, match="b-0 is not running"):
        run.supervisor.kill("b-0")


async def test_the_deadline_names_who_is_late(run: Run) -> None:
    await run.supervisor.start(server("a-0"))
    await run.supervisor.start(ProcessSpec("deaf-0", (sys.executable, "-c", STUBBORN), {}, "http://127.0.0.1:1/"))
    await run.supervisor.wait_ready(["a-0"], timeout_seconds=20)
    with pytest.raises(StartFailedError, match="Not ready within 0 s: deaf-0"):
        await run.supervisor.wait_ready(["deaf-0"], timeout_seconds=0.1)


async def test_stop_ends_all_even_the_deaf(run: Run) -> None:
    await run.supervisor.start(server("a-0"))
    await run.supervisor.start(ProcessSpec("deaf-0", (sys.executable, "-c", STUBBORN), {}))
    await eventually(lambda: "deaf" in run.log("deaf-0") and "started" in run.log("a-0"))
    await run.supervisor.stop(timeout_seconds=0.5)
    assert [run.supervisor.state(name) for name in run.supervisor.instances()] == [ProcessState.STOPPED] * 2
    assert run.events == []  # being stopped is no crash
    with pytest.raises(DevstackError, match="being stopped"):
        await run.supervisor.start(server("c-0"))


async def test_other_signals_reach_the_process(run: Run) -> None:
    await run.supervisor.start(server("a-0"))
    await run.supervisor.wait_ready(timeout_seconds=20)
    run.supervisor.kill("a-0", signal.SIGTERM)
    await eventually(lambda: run.states("a-0") == [ProcessState.RESTARTING, ProcessState.RUNNING])
    assert "SIGTERM" in run.events[0].detail


async def test_names_are_checked(run: Run) -> None:
    await run.supervisor.start(server("a-0"))
    with pytest.raises(DevstackError, match="a-0 cannot be started"):
        await run.supervisor.start(server("a-0"))
    with pytest.raises(DevstackError, match="There is no x-0; there are: a-0"):
        run.supervisor.kill("x-0")


def test_a_service_is_run_by_name_with_its_port() -> None:
    spec = service_process("window-router", "router-0", 8083, {"HARKARA_PARTITIONS": "6"})
    assert list(spec.command[1:]) == ["-m", "harkara.runtime.serve", "window-router"]
    assert spec.ready_url == "http://127.0.0.1:8083/readyz"
    assert spec.env == {
        "HARKARA_PARTITIONS": "6",
        "HARKARA_INSTANCE": "router-0",
        "HARKARA_HTTP_HOST": "127.0.0.1",
        "HARKARA_HTTP_PORT": "8083",
    }
