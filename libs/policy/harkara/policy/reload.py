"""What of a changed policy a running service may take up, and how the policy is put on record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from harkara.contracts.audit import POLICY_APPLIED, AuditRecord
from harkara.contracts.event import event_id
from harkara.policy.governance import BUILT_IN_PROFILES, Governance, Profile
from harkara.policy.sections import LONGEST_REQUEST_SECONDS

LARGEST_ON_RECORD = 1_000_000  # characters; a record may have 4 MB, and a policy of 1,000 numbers has 300,000


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
    """The audit record of a policy that a service goes by from then on: by it a decision can be explained years later.

    Each taking up is a record of its own; of those that change nothing, as a restart, the audit keeps the first one. A
    content too large for a record is left out.
    """
    content = content_of(policy)
    details = {"service": service} | ({"content": content} if len(content) <= LARGEST_ON_RECORD else {})
    return AuditRecord(
        audit_id=event_id("policy", service, policy.version, at.isoformat()),
        actor=service,
        action=POLICY_APPLIED,
        subject=policy.version,
        at=at,
        details=details,
    )


def content_of(policy: Governance) -> str:
    """The whole policy as JSON, with what the file left to this release: another one's defaults change no old decision.

    Phone numbers, ours too, have no place in the audit log, and no decision looks at them: numbered stand-ins take
    theirs.
    """
    said = policy.model_dump(mode="json")
    for place, number in enumerate(said["numbers"]):
        number["display_phone_number"] = f"+1{place:09}"
    if not said["compliance"]["opt_out_words"]:
        del said["compliance"]["opt_out_words"]  # none are added; given as none it would read as none at all
    return orjson.dumps(said).decode()


def from_record(content: str, version: str) -> Governance:
    """The recorded policy, under its version. Records of before left out what was the default, and may have what a file
    may have no longer: where that explains no decision, it is read as the most that is allowed now. Raises ValueError
    (pydantic's) where this code cannot read it."""
    said = orjson.loads(content)
    if isinstance(said, dict):
        _keep_profiles(said)
        _shorten_requests(said)
    return Governance.model_validate(said).known_as(version)


def _shorten_requests(said: dict[str, Any]) -> None:
    """Calls to Meta could take longer once; how long they may take decides on no message."""
    dispatch = said.get("dispatch")
    seconds = dispatch.get("request_timeout_seconds") if isinstance(dispatch, dict) else None
    if isinstance(seconds, int | float) and seconds > LONGEST_REQUEST_SECONDS:
        said["dispatch"]["request_timeout_seconds"] = LONGEST_REQUEST_SECONDS


def _keep_profiles(said: dict[str, Any]) -> None:
    """A built-in profile that another release had otherwise is kept under a name of its own."""
    others = {
        name: f"{name} of then"
        for name, profile in said.get("profiles", {}).items()
        if name in BUILT_IN_PROFILES and Profile.model_validate(profile) != BUILT_IN_PROFILES[name]
    }
    for name, kept in others.items():
        said["profiles"][kept] = said["profiles"].pop(name)
    for number in said["numbers"] if others else ():
        number["profile"] = others.get(number["profile"], number["profile"])
