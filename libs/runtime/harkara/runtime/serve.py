"""Run one service as a process: `python -m harkara.runtime.serve NAME`. Services are found by entry point."""

from __future__ import annotations

import asyncio
import gc
import sys
from importlib.metadata import entry_points
from typing import Any, get_type_hints

import uvloop
from pydantic import ValidationError

from harkara.runtime.service import Service

GROUP = "harkara.services"


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
        sys.exit(runner.run(run()))


if __name__ == "__main__":
    main()
