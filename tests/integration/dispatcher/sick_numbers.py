"""What the tests of isolation and failover share: paces of their own, sick numbers, operators, the ledger's times."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx

from harkara.contracts.numbers import NumberCommand, NumberState
from harkara.contracts.topics import NUMBER_COMMANDS, NUMBER_STATE
from tests.integration.dispatcher.stack import NUMBERS, PARTNER, POOLED, WABA, Stack

PROFILES = """
profiles:
  five: {per_second: 5, per_minute: 5}
  slow: {per_second: 10}
  steady: {per_second: 20}
"""


def govern(made: Stack, profiles: dict[str, str], *, request_timeout_seconds: float = 3.0) -> None:
    """governance.yaml with a profile per number (`cloud-api` for those not named); before the dispatcher starts."""
    rows = [
        f'  - {{phone_number_id: "{number}", display_phone_number: "+919999900{index:03}", waba_id: "{WABA}", '
        f'portfolio_id: "300000000000001", token_env: TOKEN_{number}, profile: {profiles.get(number, "cloud-api")}}}'
        for index, number in enumerate(NUMBERS)
    ]
    text = "numbers:\n" + "\n".join(rows) + PROFILES
    text += f'pools:\n  - {{name: pool-a, numbers: ["{POOLED}", "{PARTNER}"]}}\n'
    text += "compliance: {consent_mode: opt_out}\n"
    text += f"dispatch: {{request_timeout_seconds: {request_timeout_seconds}}}\n"
    (made.folder / "governance.yaml").write_text(text, "utf-8")


async def change(made: Stack, path: str, **values: Any) -> None:
    """Tell the simulator: `config`, or `numbers/<id>`."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        (await http.post(f"/_simulator/{path}", json=values)).raise_for_status()


async def refused(made: Stack, code: int) -> int:
    """How many calls the simulator refused with that code."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{made.graph_port}") as http:
        found = (await http.get("/_simulator/stats")).json()["refused"]
    return int(found.get(str(code), 0))


async def times(made: Stack, number: str) -> list[float]:
    """When the simulator accepted each of the number's messages, in Unix seconds."""
    return (await times_of(made, (number,)))[number]


async def times_of(made: Stack, numbers: tuple[str, ...]) -> dict[str, list[float]]:
    """The same of several numbers, from one look at the ledger."""
    found: dict[str, list[float]] = {number: [] for number in numbers}
    for each in await made.ledger():
        if each["phone_number_id"] in found:
            found[each["phone_number_id"]].append(each["accepted_at_ms"] / 1000)
    return found


async def by_number(made: Stack) -> Counter[str]:
    """Accepted messages of each number."""
    return Counter(each["phone_number_id"] for each in await made.ledger())


async def say(made: Stack, number: str, verdict: str, version: int, **more: Any) -> float:
    """The number's state, as quality-monitor writes it; when it was on the topic."""
    state = NumberState.model_validate(
        {"phone_number_id": number, "home": NUMBERS[number], "version": version, "verdict": verdict,
         "updated_at": datetime.now(UTC), **more}
    )  # fmt: skip
    await made.write(NUMBER_STATE, [(state.home, number, state, None)])
    return datetime.now(UTC).timestamp()


async def operator(made: Stack, kind: str, number: str) -> None:
    """An operator's halt or resume, as the console writes it."""
    command = NumberCommand.model_validate(
        {"command_id": f"{kind}-{number}", "phone_number_id": number, "home": NUMBERS[number], "kind": kind,
         "actor": "asha", "at": datetime.now(UTC)}
    )  # fmt: skip
    await made.write(NUMBER_COMMANDS, [(command.home, command.home, command, None)])
