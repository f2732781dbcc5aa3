"""One process that has imported what every service imports, and forks each service from itself (Linux).

A service imports for one to two seconds of processor time; ten of them on two cores made every start take twenty.
Forked from here they import only their own code, and share the memory of the rest. A service is its own process all
the same: own session, own environment, own output, killed and restarted alone.

Only other people's modules and our pure ones are imported here: a module that declares metrics would show them in
every service. Nothing here may start a thread: a fork copies none.

The parent speaks JSON lines to our standard input (`Order`) and reads them from our standard output (`Report`); the
end of the input is the end of us, and with us, by the kernel, of every child.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict

import orjson

from harkara.devstack.process import die_with_parent
from harkara.runtime import serve

IMPORTED_AHEAD = (
    "aiohttp",
    "aiokafka.admin",
    "confluent_kafka",
    "fastapi",
    "faust.app.base",
    "faust.transport.drivers.aiokafka",
    "faust.tables.recovery",
    "faust.web.drivers.aiohttp",
    "httptools",
    "jinja2",
    "opentelemetry.sdk.trace.export",
    "phonenumbers",
    "psycopg_pool",
    "pydantic_settings",
    "rich.traceback",
    "ruamel.yaml",
    "structlog",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
    "harkara.contracts.reference",
    "harkara.graph_api.client",
    "harkara.policy.clearance",
    "harkara.policy.routing",
    "harkara.runtime.api_keys",
    "harkara.runtime.kafka",
    "harkara.runtime.problems",
    "harkara.runtime.topic_admin",
)


class Order(TypedDict):
    """Start `service` with exactly this environment and this file as its output; or send `signal` to `instance`."""

    order: Literal["start", "signal"]
    instance: str
    service: str
    env: dict[str, str]
    log_file: str
    signal: int


class Report(TypedDict):
    """`started`: its process id; `ended`: with what exit status (negative: by that signal)."""

    report: Literal["started", "ended"]
    instance: str
    pid: int
    status: int


def main() -> None:
    """`python -m harkara.devstack.forkserver`: imports, then serves orders until its input ends."""
    for module in IMPORTED_AHEAD:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every shared page
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it stops the services in order
    children: dict[int, str] = {}
    for order in _orders(woken, children):
        if order["order"] == "start":
            pid = _start(order, (woken, wakes))
            children[pid] = order["instance"]
            _tell({"report": "started", "instance": order["instance"], "pid": pid, "status": 0})
        else:
            for pid in [pid for pid, instance in children.items() if instance == order["instance"]]:
                os.kill(pid, order["signal"])  # ours and not yet waited for: the id cannot be another's


def _orders(woken: int, children: dict[int, str]) -> Iterator[Order]:
    """Orders as they come; between them children that ended are reported."""
    unread = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _report_ended(children)
        if 0 in ready:
            got = os.read(0, 65_536)
            if not got:
                return
            *lines, unread = (unread + got).split(b"\n")
            yield from map(orjson.loads, lines)


def _report_ended(children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell({
            "report": "ended", "instance": children.pop(pid), "pid": pid, "status": os.waitstatus_to_exitcode(status),
        })  # fmt: skip


def _tell(report: Report) -> None:
    os.write(1, orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE))  # shorter than a pipe's atomic write


def _start(order: Order, own: tuple[int, ...]) -> int:
    bind_to_parent = die_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if bind_to_parent is not None:
            bind_to_parent()
        _become(order, own)
        status = _serve(order["service"])
    except BaseException:  # noqa: BLE001  # said in the log; the process ends below
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # whatever went wrong, a child never goes on as the fork server


def _become(order: Order, own: tuple[int, ...]) -> None:
    """Its own session, signals, output, environment and name."""
    os.setsid()
    log = os.open(order["log_file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    for fd in (*own, nothing, log):
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["env"])
    Path("/proc/self/comm").write_text(order["instance"][:15])  # what `ps` and `top` show


def _serve(service: str) -> int:
    """The service until it ends; its exit status."""
    sys.argv = ["harkara-serve", service]
    try:
        serve.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    return 0


if __name__ == "__main__":
    main()
