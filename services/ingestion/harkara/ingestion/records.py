"""What is written for a webhook's body: the same records whenever and however often they are made of it. No clock.

A body waits in the spool as it came and becomes records only when Kafka takes them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from harkara.contracts.partition import partition_for
from harkara.contracts.topics import WEBHOOK_EVENTS
from harkara.ingestion.addressing import Addresses, Unmapped
from harkara.ingestion.core import Fault, NotAWebhook, split
from harkara.ingestion.effects import outputs_of
from harkara.policy.governance import Governance
from harkara.runtime.kafka import Output, RawOutput

MOST_FAULTS = 1000  # as many updates as Meta puts into a webhook; what is beyond stays in the last one's record


@dataclass(slots=True)
class Records:
    """The records of one body. `faults`: how many parts of it went to the DLQ; `mended`: its text was not sound
    (half a surrogate pair, bytes that are no UTF-8) and has replacement characters now; `unmapped`: how many changes
    are about a number or an account that the governance file does not know."""

    outputs: Sequence[Output | RawOutput]
    faults: int = 0
    mended: bool = False
    unmapped: Counter[Unmapped] = field(default_factory=Counter)


class RecordMaker:
    """Makes the records of a signed body. `partitions` is that of every topic."""

    def __init__(self, addresses: Addresses, partitions: int) -> None:
        self._addresses = addresses
        self._partitions = partitions

    def follow(self, governance: Governance) -> None:
        """Map by another policy from now on."""
        self._addresses = Addresses(governance)

    def records(self, raw: bytes, received_at: datetime) -> Records:
        """Every change as one record; each part that is none goes to the DLQ alone, a body that is no webhook whole."""
        digest = hashlib.sha256(raw).hexdigest()
        unmapped: Counter[Unmapped] = Counter()

        def key_of(entry_id: str, value: Mapping[str, Any]) -> str:
            address = self._addresses.of(entry_id, value)
            if address.unmapped is not None:
                unmapped[address.unmapped] += 1
            return address.key

        try:
            body, mended = _parsed(raw)
            emissions, faults = split(body, digest, len(raw), received_at, key_of)
        except NotAWebhook as error:
            return Records([self._quarantined(raw, digest, str(error))], faults=1)
        outputs: list[Output | RawOutput] = [*outputs_of(emissions, received_at)]
        outputs += (self._quarantined(part, digest, reason) for reason, part in _bounded(faults))
        return Records(outputs, len(faults), mended, unmapped)

    def _quarantined(self, value: bytes, digest: str, reason: str) -> RawOutput:
        return RawOutput(
            topic=WEBHOOK_EVENTS.dlq,
            partition=partition_for(digest, self._partitions),
            key=digest.encode(),
            value=value,
            headers=[
                ("dlq-reason", reason.encode()),
                ("dlq-loop", b"ingestion-webhooks"),
                ("dlq-source", b"POST /webhooks/meta"),
            ],
        )


def _parsed(raw: bytes) -> tuple[Any, bool]:
    """The body, and whether its text had to be mended. Raises NotAWebhook where it is no JSON.

    orjson refuses the whole body for one half of a surrogate pair, which is what a name cut off in the middle of an
    emoji leaves, and a thousand updates would share that name's fate. The slow way takes it.
    """
    try:
        return _writable(orjson.loads(raw)), False
    except orjson.JSONDecodeError:
        pass  # the slow way says whether it is JSON at all
    try:
        lenient = json.loads(raw.decode("utf-8", "replace"))
        mended = json.dumps(lenient, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        return _writable(orjson.loads(mended)), True
    except (ValueError, RecursionError):
        raise NotAWebhook("the body is not valid JSON") from None


def _writable(body: Any) -> Any:
    """What is read 1,024 levels deep is written only 254 deep: found here, or its record could never be written and
    all that waits in the spool would wait behind it."""
    try:
        orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise NotAWebhook("the body is nested too deep") from None
    return body


def _bounded(faults: list[Fault]) -> list[tuple[str, bytes]]:
    """Reason and bytes of each; of a body with more than MOST_FAULTS, the rest together."""
    alone = [(fault.reason, orjson.dumps(fault.part)) for fault in faults[:MOST_FAULTS]]
    rest = faults[MOST_FAULTS:]
    if rest:
        reason = f"{len(rest)} more parts, the first: {rest[0].reason}"
        alone.append((reason, orjson.dumps([fault.part for fault in rest])))
    return alone
