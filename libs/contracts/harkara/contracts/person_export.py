"""What a person may ask for about themself, as one JSON document: all that is held of them, and the receipt of an
erasure (CMP-12). The schemas are generated: docs/reference/person-export.schema.json and erasure-receipt.schema.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from harkara.contracts.audit import AuditRecord
from harkara.contracts.consent import ConsentEvent, PurposeConsent
from harkara.contracts.event import Instant, Value
from harkara.contracts.lifecycle import MessageLifecycle, MessageState
from harkara.contracts.retention import Copy


class HeldName(Value):
    """A pseudonym of the person. `asked`: of the name that was asked about; else how it is linked to that one.
    `until`: of a number that they gave up, when: what came later under it is its next owner's and not in here."""

    person_key: str
    link: Literal["asked", "linked"]
    until: Instant | None = None


class HeldMessage(Value):
    """A message to the person: how it stands, and every step on the way there, a refusal with its reason."""

    state: MessageState
    transitions: tuple[MessageLifecycle, ...] = ()


class PersonExport(Value):
    """Everything on the read side and in the consent record about one person, under all names that are known.

    The texts of messages are not here: Postgres has none. `copies` names the topics that have more, and until when.
    `marketing` and `transactional` are the words that hold, `consent` is how it came to that, in order. Of a page
    `next` asks for what follows it; a whole document has none.
    """

    exported_at: Instant
    names: tuple[HeldName, ...] = ()
    marketing: PurposeConsent | None = None
    transactional: PurposeConsent | None = None
    language: str | None = None
    consent: tuple[ConsentEvent, ...] = ()
    messages: tuple[HeldMessage, ...] = ()
    audit: tuple[AuditRecord, ...] = ()
    copies: tuple[Copy, ...] = ()
    next: str | None = None


class Kept(Value):
    """Something that an erasure leaves, and why."""

    what: str
    why: str


class ErasureReceipt(Value):
    """What an erasure does. It is in force within seconds of `erased_at`: what waits for the person is cancelled, and
    their pseudonym goes out of Postgres. `names`: how many names of theirs it counts for. `copies`: what Kafka has from
    before, and until when; `kept`: what stays.

    `given_up`: numbers that the person had before. They may be others' by now, so nothing is erased under them;
    `sealed_before`: audit records of theirs from before records were sealed: their hash holds the pseudonym fast.
    """

    erasure_id: str
    erased_at: Instant
    names: int
    given_up: int = 0
    sealed_before: int = 0
    copies: tuple[Copy, ...] = ()
    kept: tuple[Kept, ...] = ()


KEPT: tuple[Kept, ...] = (
    Kept(
        what="the pseudonym with the word `erased` and its time, in consent-state",
        why="a suppression: without it the person could be written to again from the next list that names them",
    ),
    Kept(
        what="what was said of consent, with its proof, under the pseudonym, in consent-events; of a word on WhatsApp "
        "the proof is Meta's id of the message, in which the phone number can be read",
        why="to show that there was consent when messages went, and for legal claims; nothing is decided by it and no "
        "answer shows it any more",
    ),
    Kept(
        what="links between pseudonyms of one person, in person-identities",
        why="so that the suppression holds under each of their names",
    ),
    Kept(
        what="messages and their steps without the person: id, status, times, number, run",
        why="counts and bills; the id is the producer's own, which alone could lead to a person",
    ),
    Kept(
        what="the audit's records, the person replaced by a salted hash whose salt is gone",
        why="who did what must stay provable; the chain still verifies",
    ),
    Kept(
        what="dead letters' positions and reasons, and the short hashes of their record keys that nobody asked about",
        why="to find what could not be processed; the records themselves go with their topics",
    ),
    Kept(
        what="webhooks that Kafka refused or the disk damaged, set aside in the edge's spool",
        why="nobody can tell whose they are; they stay until somebody removes them",
    ),
    Kept(
        what="what Meta and the person's own phone have, and the systems of the messages' producers",
        why="out of Harkara's reach: ask them",
    ),
)
"""What is left after an erasure, besides Kafka's copies."""

DOCUMENTS: dict[str, type[Value]] = {"person-export": PersonExport, "erasure-receipt": ErasureReceipt}


def schema_text(name: str) -> str:
    """The JSON Schema of a document (draft 2020-12), as its file under docs/reference has it."""
    schema = DOCUMENTS[name].model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write `<name>.schema.json` of each document into `folder`; the paths."""
    written = []
    for name in DOCUMENTS:
        path = folder / f"{name}.schema.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    return written
