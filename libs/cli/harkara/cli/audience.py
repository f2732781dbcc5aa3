"""The recipients of the demonstration: the example file, then more of the same invented range."""

from __future__ import annotations

import csv
import io
from pathlib import Path

FIRST_INVENTED = 30_000  # the file uses +9199999 followed by numbers below this
LAST_INVENTED = 99_999


def audience_csv(path: Path, recipients: int) -> str:
    """CSV with exactly `recipients` different recipients: the file's first, then its rows again with other numbers.

    Raises ValueError when more are asked for than the invented range holds.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    chosen = rows[:recipients]
    missing = recipients - len(chosen)
    if missing > LAST_INVENTED - FIRST_INVENTED + 1:
        raise ValueError(f"at most {len(rows) + LAST_INVENTED - FIRST_INVENTED + 1} recipients can be invented")
    extra = (n for n in range(FIRST_INVENTED, LAST_INVENTED + 1) if n % 10_000 > 99)  # 00xx are the simulator's fates
    for index, number in zip(range(missing), extra, strict=False):
        chosen.append([f"+9199999{number:05d}", *rows[index % len(rows)][1:]])
    if len(chosen) < recipients:
        raise ValueError(f"at most {len(chosen)} recipients can be invented")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *chosen])
    return out.getvalue()
