"""What of a changed policy a running service may take up, and how the policy is put on record."""

from __future__ import annotations

from datetime import datetime

import orjson

from harkara.contracts.audit import AuditRecord
from harkara.contracts.event import event_id
from harkara.policy.governance import Governance

LARGEST_ON_RECORD = 500_000  # characters; a record may have 4 MB, and a policy of 1,000 numbers has 400,000


def needs_restart(old: Governance, new: Governance) -> list[str]:
    """What of the new policy a guard or router cannot take up while running; empty: all of it.

    Homes decide in which lane a message lives. They change everywhere at once, by a restart, or messages would be
    written for a lane that does not know them.
    """
    ids = {number.phone_number_id for number in old.numbers}, {number.phone_number_id for number in new.numbers}
    found = [f"number {number} is new" for number in sorted(ids[1] - ids[0])]
    found += [f"number {number} is gone" for number in sorted(ids[0] - ids[1])]
    if {pool.name: set(pool.numbers) for pool in old.pools} != {pool.name: set(pool.numbers) for pool in new.pools}:
        found.append("pools are others")
    return found


def moved_portfolios(old: Governance, new: Governance) -> list[str]:
    """Why whoever keeps or spends the portfolios' limits must restart: which there are, or whose numbers they have, is
    read once. Another limit of the same portfolio is no reason."""
    ids = [{portfolio.id for portfolio in policy.portfolios} for policy in (old, new)]
    found = ["portfolios are others"] if ids[0] != ids[1] else []
    for number in old.numbers:
        other = new.number(number.phone_number_id)
        if other is not None and other.portfolio_id != number.portfolio_id:
            found.append(f"number {number.phone_number_id} has another portfolio_id")
    return found


def on_record(policy: Governance, service: str, at: datetime) -> AuditRecord:
    """The audit record of a policy that a service goes by: from it a decision can be explained years later.

    The same policy of the same service gives the same record. Phone numbers, ours too, have no place in the audit log,
    and no decision looks at them: numbered stand-ins take theirs. A content too large for a record is left out.
    """
    said = policy.model_dump(mode="json", exclude_defaults=True)
    for place, number in enumerate(said["numbers"]):
        number["display_phone_number"] = f"+1{place:09}"
    content = orjson.dumps(said).decode()
    details = {"service": service} | ({"content": content} if len(content) <= LARGEST_ON_RECORD else {})
    return AuditRecord(
        audit_id=event_id("policy", service, policy.version),
        actor=service,
        action="policy_applied",
        subject=policy.version,
        at=at,
        details=details,
    )


def from_record(content: str, version: str) -> Governance:
    """The recorded policy, under its version. Raises ValueError (pydantic's) where this code cannot read it."""
    return Governance.model_validate_json(content).known_as(version)
