"""Run one service as a process: `python -m harkara.runtime.serve NAME`. Services are found by entry point."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from importlib.metadata import entry_points
from typing import Any, NoReturn, get_type_hints

import structlog
import uvloop
from pydantic import ValidationError

from harkara.runtime.service import Service

GROUP = "harkara.services"
LAST_WAIT_SECONDS = 1.0  # for threads that are ending by themselves; the service has stopped, in order, before it

log = structlog.get_logger()


def load(name: str) -> Service:
    """The service of that name, with its settings from the environment.

    Raises SystemExit with one sentence where the name is unknown or a setting is wrong.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise SystemExit(f"there is no service {name!r} here; installed: {', '.join(sorted(found)) or 'none'}")
    create: Any = found[name].load()
    settings_type = get_type_hints(create)["settings"]
    try:
        settings = settings_type()
        service: Service = create(settings)
    except (ValidationError, ValueError) as error:
        raise SystemExit(f"{name}: {_plain(error)}") from None
    return service


def _plain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        rows = error.errors(include_input=False, include_url=False)
        return "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in rows)
    return str(error)


def main() -> None:
    """The console script."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: harkara-serve NAME")

    async def run() -> int:
        return await load(sys.argv[1]).run()

    gc.freeze()  # modules live for ever; keep them out of every collection
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(run())
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process with this exit code, also where a thread does not end.

    Python waits for every thread, and librdkafka may hold one for as long as the broker is away: its
    send_offsets_to_transaction does not keep its timeout where the broker dies under it (2.16: one in ten). Whatever
    had to be done in order is done by now, and Kubernetes would kill the process for the same effect, only later.
    """
    until = time.monotonic() + LAST_WAIT_SECONDS
    others = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    for each in others:
        each.join(max(0.0, until - time.monotonic()))
    held = sorted(each.name for each in others if each.is_alive())
    if not held:
        sys.exit(code)
    log.warning("left_threads_behind", threads=held)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
