"""How long lanes take to be left. What waits for it, waits longer: the group's thread (`membership.py`), the process
(`harkara.runtime.service`), Compose and Kubernetes."""

from __future__ import annotations

LEAVE_MARGIN_SECONDS = 2.0  # for each of the two waits of a lane: for its calls, for its events
LEAVE_SECONDS = 3 * LEAVE_MARGIN_SECONDS  # beyond the request timeout: both, and the commits behind them
