"""Where the stacks of these tests keep their data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not pytest's: as root, Postgres runs as another user, and each pytest that starts shuts its folder to them."""
    directory = Path(tempfile.mkdtemp(prefix="harkara-e2e-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
