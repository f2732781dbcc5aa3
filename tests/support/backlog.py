"""What a consumer finds that was away for an hour: old records, each twice, in no order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar

HOUR = timedelta(hours=1)
SEED = 20261121

T = TypeVar("T")


def twice_and_mixed(records: Iterable[T]) -> list[T]:
    """Each record twice, all shuffled with SEED (which a failing test names)."""
    mixed = [*records] * 2
    random.Random(SEED).shuffle(mixed)
    return mixed
