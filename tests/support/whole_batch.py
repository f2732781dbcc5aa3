"""Meta's greatest batch: 1,000 statuses over 12 numbers in three accounts, three of them malformed."""

from __future__ import annotations

from typing import Any, Literal

import orjson

NUMBERS = [f"10000000000{n:04}" for n in range(1, 13)]
PLACES = (3, 500, 999)
MALFORMED: list[dict[str, Any]] = [
    {"id": "wamid.3", "status": "levitated", "timestamp": "1795156202"},
    {"id": "wamid.500", "status": "sent"},
    {"status": "delivered", "timestamp": "1795156202"},
]
SOUND = frozenset(f"wamid.{n}" for n in range(1000) if n not in PLACES)
POLICY = (
    "numbers:\n"
    + "".join(
        f'  - {{phone_number_id: "{each}", display_phone_number: "+9199999{n:05}", waba_id: "20000000000000{n % 3}", '
        f'portfolio_id: "300000000000001", token_env: T}}\n'
        for n, each in enumerate(NUMBERS)
    )
    + "compliance: {consent_mode: opt_out}\n"
)
Shape = Literal["single", "per number", "3 MB"]


def whole_batch(shape: Shape) -> bytes:
    """The body: a change for each status, a change for each number, or the latter filled up to Meta's 3 MB."""
    statuses: list[dict[str, Any]] = [
        {"id": f"wamid.{n}", "status": "sent", "timestamp": "1795156202", "recipient_id": f"9199999{n:05}"}
        for n in range(1000)
    ]
    for place, status in zip(PLACES, MALFORMED, strict=True):
        statuses[place] = status
    per_number = [statuses[n::12] for n in range(12)]
    groups = [(n % 12, [each]) for n, each in enumerate(statuses)] if shape == "single" else list(enumerate(per_number))
    entries: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for number, listed in groups:
        value: dict[str, Any] = {"metadata": {"phone_number_id": NUMBERS[number]}, "statuses": listed}
        if shape == "3 MB":
            value["contacts"] = [{"profile": {"name": "x" * 240_000}}]
        entries[number % 3].append({"field": "messages", "value": value})
    body = [{"id": f"20000000000000{waba}", "changes": changes} for waba, changes in entries.items()]
    return orjson.dumps({"entry": body, "object": "whatsapp_business_account"})
