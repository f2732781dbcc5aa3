"""What the whole machine did, whoever it was for: benchmarks run on shared ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Seconds of all cores together since boot: in which they worked (but for what is nice to all others, as the loops
    that hold cores awake), and in which its host gave them to others."""

    busy: float
    stolen: float


def machine() -> Machine:
    """From /proc/stat (Linux): user, nice, system, idle, iowait, irq, softirq, steal."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    per_second, stolen = os.sysconf("SC_CLK_TCK"), ticks[7]
    return Machine((sum(ticks) - ticks[1] - ticks[3] - ticks[4] - stolen) / per_second, stolen / per_second)
