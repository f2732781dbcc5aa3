"""How long a preview takes: 10,000 recipients from their rows to hashes, counts and verdicts.

    python -m bench.preview [--rows 10000] [--persons 100000]

In one process, without Kafka: `persons` consents are known, one in twenty opted out. Prints one JSON line and its bar;
the exit code is 1 where it is missed. `ratio` is against a bare loop of the guard's and the router's own decisions on
the same intents, made before: what reading, checking, hashing and counting the rows adds. The best of three is taken;
processor time is the figure to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from harkara.contracts.consent import ConsentEvent, advance_consent
from harkara.contracts.identity import person_key
from harkara.contracts.portfolios import PortfolioLease
from harkara.contracts.topics import CONSENT_STATE
from harkara.ingestion.acceptance import Request, Resolved, RunAcceptance
from harkara.ingestion.audience import inline_rows
from harkara.ingestion.known import Known
from harkara.ingestion.portfolios import Ledgers
from harkara.ingestion.requests import RunRequest
from harkara.ingestion.resolution import Resolver
from harkara.ingestion.runs import Caller, Frozen, plan_run
from harkara.policy.governance import Governance
from harkara.policy.known import Known as Around
from harkara.policy.standings import Standings
from harkara.runtime.clock import SystemClock
from harkara.runtime.kafka import Output, RawOutput

PEPPER = b"a pepper of the bench"
SENDER, PORTFOLIO = "100000000000001", "300000000000001"
LONGEST_SECONDS = 2.0
ROUNDS = 3


class Nowhere:
    """A preview writes nothing."""

    async def write(self, outputs: Sequence[Output | RawOutput]) -> None:
        """Raises."""
        raise AssertionError("a preview has written")


def policy() -> Governance:
    """One number of a portfolio whose limit is kept, and hours that matter: the dearest way to decide."""
    number = {
        "phone_number_id": SENDER, "display_phone_number": "+919999900001", "waba_id": "200000000000001",
        "portfolio_id": PORTFOLIO, "token_env": "TOKEN",
    }  # fmt: skip
    portfolios = [{"id": PORTFOLIO, "limit": 2000}]
    return Governance.model_validate(
        {"numbers": [number], "portfolios": portfolios, "compliance": {"consent_mode": "opt_out"}}
    )


def phone(n: int) -> str:
    """An invented number: there are 100,000."""
    return f"+9199999{n % 100_000:05}"


def consents(persons: int) -> Standings:
    """So many persons' words."""
    standings, at = Standings(), datetime.now(UTC)
    for n in range(persons):
        person = person_key(PEPPER, phone(n))
        standing = "opted_out" if n % 20 == 0 else "opted_in"
        event = ConsentEvent.model_validate(
            {"event_id": str(n), "person_key": person, "standing": standing, "source": "import", "at": at}
        )
        standings.apply(CONSENT_STATE, person, advance_consent(None, event))
    return standings


async def measured(rows: int, persons: int) -> dict[str, float]:
    """The figures."""
    governance, clock = policy(), SystemClock()
    ledgers = Ledgers()
    ledgers.apply(PortfolioLease(portfolio_id=PORTFOLIO, version=1, at=clock.now(), limit=2000, used=500))
    resolver = Resolver(governance, PEPPER, consents(persons), Around(clock.now), lambda: True, ledgers)
    acceptance = RunAcceptance(Nowhere(), Known(), clock, resolver)
    template = {"name": "daily_update", "language": "en"}
    run = RunRequest.model_validate({"name": "bench", "sessionId": SENDER, "template": template, "category": "utility"})
    audience = [{"to": phone(n), "params": [f"Person {n}", "fund update"]} for n in range(rows)]
    plan = plan_run(run, "r-bench", Caller("bench", None, "bench"), governance, PEPPER)
    request = Request(
        "r-bench",
        "r-dry",
        "bench",
        "bench",
        run,
        looks=lambda: map(plan.frozen, inline_rows(audience)),
        persons_once=True,
    )
    frozen = [each for each in map(plan.frozen, inline_rows(audience)) if isinstance(each, Frozen)]
    walls, cpus, bare = [], [], []
    resolved: Resolved | None = None
    for _ in range(ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        resolved = await acceptance.preview(request)
        walls.append(time.perf_counter() - started)
        cpus.append(time.process_time() - used)
        used, now = time.process_time(), clock.now()
        for each in frozen:
            resolver.of(each.intent, each.row, each.home, now)
        bare.append(time.process_time() - used)
    assert resolved is not None and resolved.survey.expected == rows
    refused = resolved.resolution.outcomes.get("refused", 0)
    return {
        "rows": rows, "persons": persons, "refused": refused, "seconds": min(walls), "cpu_seconds": min(cpus),
        "cpu_us_a_row": min(cpus) / rows * 1e6, "bare_us_a_row": min(bare) / rows * 1e6, "ratio": min(cpus) / min(bare),
    }  # fmt: skip


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--persons", type=int, default=100_000)
    arguments = parser.parse_args()
    figures = asyncio.run(measured(arguments.rows, arguments.persons))
    print(json.dumps({"section": "preview"} | {name: round(value, 3) for name, value in figures.items()}))
    good = figures["seconds"] <= LONGEST_SECONDS * arguments.rows / 10_000
    print(
        f"    {'ok    ' if good else 'MISSED'} seconds {figures['seconds']:.2f} <= {LONGEST_SECONDS:g} for 10,000 rows"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
