"""The benchmarks start as the Makefile starts them: nothing else runs them between two measurements."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = re.findall(r"\$\(BIN\)/python ((?:-m )?bench[./]\S+)", (ROOT / "Makefile").read_text("utf-8"))


def test_the_makefile_has_benchmarks() -> None:
    assert "-m bench.dispatch" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_it_says_what_it_measures(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout
