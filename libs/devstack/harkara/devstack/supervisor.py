"""Starts processes by name, restarts what crashes (within `RestartPolicy`), stops all of them in order."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from harkara.devstack.errors import DevstackError, StartFailedError
from harkara.devstack.forked import ForkedProcess, ForkServer, can_fork
from harkara.devstack.ports import HOST
from harkara.devstack.process import die_with_parent, log_tail
from harkara.devstack.restart_policy import GiveUp, RestartPolicy, decide, recent

# Where nothing can be forked, every service imports for one to two seconds of CPU: ten need some 20 s on 2 busy cores.
READY_TIMEOUT_SECONDS = 90.0
# A service gives its components 25 s each; on a laptop they leave in under a second.
STOP_TIMEOUT_SECONDS = 15.0
_POLL_INTERVAL_SECONDS = 0.1
_PROBE_TIMEOUT_SECONDS = 2.0


class ProcessState(StrEnum):
    """`running` is up, ready or not; `given_up` stays down until the supervisor is stopped."""

    RUNNING = "running"
    RESTARTING = "restarting"
    GIVEN_UP = "given_up"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run: `env` is its whole environment; `ready_url` answers 200 once it is ready (None: ready when up).

    `service`: the Harkara service that `command` runs, which may be forked instead (see `forkserver`).
    """

    instance: str
    command: Sequence[str]
    env: Mapping[str, str]
    ready_url: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """Something that happened to an instance; `detail` is for people, several lines long when it gave up."""

    instance: str
    state: ProcessState
    detail: str


def service_process(service: str, instance: str, port: int, env: Mapping[str, str]) -> ProcessSpec:
    """A Harkara service as a process: `python -m harkara.runtime.serve SERVICE` with its port and name in `env`."""
    return ProcessSpec(
        instance=instance,
        command=(sys.executable, "-m", "harkara.runtime.serve", service),
        env={**env, "HARKARA_INSTANCE": instance, "HARKARA_HTTP_HOST": HOST, "HARKARA_HTTP_PORT": str(port)},
        ready_url=f"http://{HOST}:{port}/readyz",
        service=service,
    )


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    log_file: Path
    state: ProcessState = ProcessState.RUNNING
    process: asyncio.subprocess.Process | ForkedProcess | None = None
    watcher: asyncio.Task[None] | None = None
    crash_times: tuple[float, ...] = ()
    was_ready: bool = False


class Supervisor:
    """Use from one event loop, in a thread that lives as long as the processes should (the main one).

    Each instance's output is appended to `<run_dir>/logs/<instance>.log`. `on_event` is told of every crash, restart
    and giving up.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        policy: RestartPolicy | None = None,
        on_event: Callable[[ProcessEvent], None] = lambda event: None,
    ) -> None:
        self._run_dir = run_dir.resolve()
        self._policy = policy or RestartPolicy()
        self._on_event = on_event
        self._children: dict[str, _Child] = {}
        self._stopping = asyncio.Event()
        self._forks = ForkServer(self._run_dir / "logs" / "forkserver.log") if can_fork() else None

    async def prepare(self) -> None:
        """Optional, and early: what all services import is imported while other things boot."""
        if self._forks is not None:
            await self._forks.open()

    async def start(self, spec: ProcessSpec) -> None:
        """Starts it and returns at once. Raises DevstackError where that instance is already there, or on stopping."""
        if spec.instance in self._children or self._stopping.is_set():
            raise DevstackError(f"{spec.instance} cannot be started: it is there already, or all are being stopped.")
        log_file = self._run_dir / "logs" / f"{spec.instance}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        child = self._children[spec.instance] = _Child(spec, log_file)
        await self._spawn(child)
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {spec.instance}")

    async def wait_ready(
        self,
        instances: Sequence[str] | None = None,
        timeout_seconds: float = READY_TIMEOUT_SECONDS,
        on_ready: Callable[[str], None] = lambda instance: None,
    ) -> None:
        """Returns once all (default: every one) are ready; `on_ready` is called as each becomes so.

        Raises StartFailedError when one is given up or the time is over, naming it, with its last log lines.
        """
        waiting = list(self._children if instances is None else instances)
        deadline = time.monotonic() + timeout_seconds
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_SECONDS, trust_env=False) as client:
            while waiting:
                answers = await asyncio.gather(*(self._is_ready(client, self._child(name)) for name in waiting))
                for name, ready in zip(list(waiting), answers, strict=True):
                    if ready:
                        waiting.remove(name)
                        on_ready(name)
                if waiting:
                    self._require_hope(waiting, deadline, timeout_seconds)
                    await asyncio.sleep(_POLL_INTERVAL_SECONDS)

    def state(self, instance: str) -> ProcessState:
        """Raises DevstackError for an unknown instance."""
        return self._child(instance).state

    def pid(self, instance: str) -> int | None:
        """The process id, or None while it is down."""
        child = self._child(instance)
        running = child.state is ProcessState.RUNNING and child.process is not None
        return child.process.pid if running and child.process is not None else None

    def instances(self) -> tuple[str, ...]:
        """In the order they were started."""
        return tuple(self._children)

    def kill(self, instance: str, signal_number: signal.Signals = signal.SIGKILL) -> None:
        """Sends the signal; the supervisor then treats the end as a crash. Raises DevstackError while it is down."""
        child = self._child(instance)
        if child.process is None or child.process.returncode is not None:
            raise DevstackError(f"{instance} is not running.")
        child.process.send_signal(signal_number)

    async def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """SIGTERM to all, the last started first; SIGKILL to whoever is still there at the deadline."""
        self._stopping.set()
        for child in reversed(self._children.values()):
            if child.process is not None and child.process.returncode is None:
                child.process.terminate()
        watchers = [child.watcher for child in self._children.values() if child.watcher is not None]
        if watchers:
            _, late = await asyncio.wait(watchers, timeout=timeout_seconds)
            for child in self._children.values():
                if child.watcher in late and child.process is not None and child.process.returncode is None:
                    child.process.kill()
            await asyncio.gather(*watchers)
        if self._forks is not None:
            await self._forks.close()

    async def _spawn(self, child: _Child) -> None:
        spec = child.spec
        if self._forks is not None and spec.service is not None:
            child.process = await self._forks.start(spec.instance, spec.service, spec.env, child.log_file)
        else:
            child.process = await self._execute(child)
        child.state = ProcessState.RUNNING

    async def _execute(self, child: _Child) -> asyncio.subprocess.Process:
        with child.log_file.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *child.spec.command,
                env=dict(child.spec.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop them in order
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    async def _watch(self, child: _Child) -> None:
        """Follows one instance through its restarts until it is stopped or given up."""
        while True:
            assert child.process is not None
            status = await child.process.wait()
            if self._stopping.is_set():
                break
            now = time.monotonic()
            child.crash_times = recent(self._policy, (*child.crash_times, now), now)
            verdict = decide(self._policy, child.crash_times, now, was_ready=child.was_ready)
            if isinstance(verdict, GiveUp):
                self._tell(child, ProcessState.GIVEN_UP, self._epitaph(child, status, verdict))
                return
            self._tell(child, ProcessState.RESTARTING, f"{child.spec.instance} {_ended(status)}; restarting it")
            if await self._stopped_within(verdict.delay_seconds):
                break
            try:
                await self._spawn(child)
            except (OSError, DevstackError) as error:  # no memory, no file handles: trying on would not help
                self._tell(child, ProcessState.GIVEN_UP, f"{child.spec.instance} cannot be started again: {error}")
                return
            if self._stopping.is_set():  # stop() saw the old process only
                child.process.terminate()
            self._tell(child, ProcessState.RUNNING, f"{child.spec.instance} was restarted")
        child.state = ProcessState.STOPPED

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _is_ready(self, client: httpx.AsyncClient, child: _Child) -> bool:
        if child.state is not ProcessState.RUNNING:
            return False
        try:
            ready = child.spec.ready_url is None or (await client.get(child.spec.ready_url)).status_code == 200
        except httpx.TransportError:
            return False
        child.was_ready |= ready
        return ready

    def _require_hope(self, waiting: Sequence[str], deadline: float, timeout_seconds: float) -> None:
        for child in map(self._child, waiting):
            if child.state is ProcessState.GIVEN_UP:
                raise StartFailedError(f"{child.spec.instance} does not start; {self._last_lines(child)}")
        if time.monotonic() > deadline:
            lines = "\n".join(self._last_lines(self._child(name)) for name in waiting)
            raise StartFailedError(f"Not ready within {timeout_seconds:.0f} s: {', '.join(waiting)}.\n{lines}")

    def _tell(self, child: _Child, state: ProcessState, detail: str) -> None:
        child.state = state
        self._on_event(ProcessEvent(child.spec.instance, state, detail))

    def _epitaph(self, child: _Child, status: int, verdict: GiveUp) -> str:
        often = f"{verdict.crashes} times in {self._policy.window_seconds:.0f} s"
        return f"{child.spec.instance} {_ended(status)}, {often}: given up; {self._last_lines(child)}"

    def _last_lines(self, child: _Child) -> str:
        return f"the last lines of {child.log_file}:\n{log_tail(child.log_file)}"

    def _child(self, instance: str) -> _Child:
        if instance not in self._children:
            raise DevstackError(f"There is no {instance}; there are: {', '.join(self._children) or 'none'}.")
        return self._children[instance]


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
