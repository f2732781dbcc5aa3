"""The quick start as somebody types it: `harkara init`, then each command that it printed, by a shell (DX-2).

The stack stands in for the printed `harkara up`; it knows the invented number that the files hold.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from harkara.devstack.stack import Stack
from tests.support.wait import eventually

BIN = Path(sys.executable).parent
LONGEST_SECONDS = 60  # of one command: it starts in one, and every answer comes within a few


async def what_init_says_comes_next_works_as_printed(stack: Stack, folder: Path) -> None:
    """Every command but `up` ends well, and the rehearsal reaches its end: one rehearsed, nobody called."""
    status, printed = await typed(f"harkara init {folder}", Path.cwd())
    assert status == 0, printed
    commands = re.findall(r"^     (.+)$", printed, re.MULTILINE)
    assert any(each.startswith("harkara up ") for each in commands)
    where = folder / ".harkara" / "up" / "stack.env"
    where.parent.mkdir(parents=True)
    where.symlink_to((stack.config.run_dir / "stack.env").resolve())
    lead = [each for each in commands if each.startswith(("cd ", "set "))]
    for command in commands:
        if command in lead or command.startswith("harkara up "):
            continue
        status, said = await typed("\n".join([*lead, command]), Path.cwd())
        assert status == 0, f"{command}: {said}"
    told: list[str] = []

    async def rehearsed() -> bool:
        told[:] = [(await typed("\n".join([*lead, commands[-1]]), Path.cwd()))[1]]
        return "rehearsal is" in told[0] and "a dry run" in told[0] and bool(re.search(r"\b2 of 2 have ended", told[0]))

    await eventually(rehearsed, timeout_seconds=LONGEST_SECONDS, every=0.5)
    assert "rehearsed 2" in told[0], told[0]


async def typed(script: str, folder: Path) -> tuple[int, str]:
    """What a shell makes of it that finds `harkara`: its exit code and everything it printed."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        "sh", "-ec", script, cwd=folder, env=os.environ | {"PATH": path, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(shell.communicate(), LONGEST_SECONDS)
    return shell.returncode or 0, output.decode()
