"""Every example is what its topic promises: it decodes, comes back equal, fits its schema and carries the right key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harkara.contracts.envelope import Undecodable, decode, encode, header
from harkara.contracts.event import Event
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, DispatchOrder
from harkara.contracts.schemas import EVENTS, schema_of
from harkara.contracts.topics import STREAMS, UPSTREAM
from tests.support.consumers import CONSUMERS, MessageStates
from tests.support.examples import FOLDER, PEPPER, Example, all_examples, examples
from tests.support.replay import Consumer, Hop

EXAMPLES = all_examples()
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=str)

KEYS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "sender": lambda value: value["sender"],
    "home": lambda value: value["home"],
    "run id": lambda value: value["run_id"],
    "message id": lambda value: value["message_id"],
    "phone number id": lambda value: value["phone_number_id"],
    "person": lambda value: value["person_key"],
    "phone": lambda value: value["phone"],
    "subject": lambda value: value["subject"],
    "portfolio": lambda value: value["portfolio_id"],
    "person and alias": lambda value: f"{value['person_key']}:{value['alias_key']}",
    "phone number id and person": lambda value: f"{value['phone_number_id']}:{value['person_key']}",
    "WABA id, name and language": lambda value: f"{value['waba_id']}/{value['name']}/{value['language']}",
    "run id and lifecycle partition": lambda value: f"{value['run_id']}|{value['partition']}",
    "phone number id, else WABA id": lambda value: (
        value["value"].get("metadata", {}).get("phone_number_id") or value["entry_id"]
    ),
    "message id, number, command, or `emitted`": lambda value: None,  # the lane's own; its replay reads them
}
"""How each kind of key in the table of topics is made; None: not a function of the value."""

FOREIGN_PHONES = {"16505551111"}  # the number behind the Test button of Meta's app dashboard
PHONE = re.compile(r"(?<![\w.])\+?(?!919999[0-9]{6}(?!\d))(?:91[6-9]\d{9}|[1-9]\d{10})(?![\w.])")


WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, "", "x", "\x00", [], [[]], {}, {"a": {}}, {"type": "text"})


VALIDATORS = {kind: Draft202012Validator(schema_of(kind)) for kind in EVENTS.values()}


def read(example: Example, value: dict[str, Any]) -> Event:
    """The example with another value. Raises Undecodable."""
    raw = json.dumps(value).encode()
    return decode(example.topic.events, raw, example.headers, fallback_id="none").event


def test_every_topic_has_an_example_and_no_folder_is_without_a_topic() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == {topic.name for topic in STREAMS}
    for topic in STREAMS:
        decoded = {type(example.decoded().event) for example in examples(topic.name)}
        assert decoded == set(topic.events), topic.name


@each_example
def test_it_decodes_and_comes_back_equal(example: Example) -> None:
    first = example.decoded()
    value, headers = encode(
        first.event, event_id=first.id, source=first.source, time=example.timestamp, subject=first.subject,
        traceparent=first.traceparent,
    )  # fmt: skip
    again = decode(example.topic.events, value, headers, fallback_id="none")
    assert again == replace(first, time=example.timestamp)


@each_example
def test_it_fits_its_schema_and_so_does_what_we_write_of_it(example: Example) -> None:
    event = example.decoded().event
    validator = VALIDATORS[type(event)]
    validator.validate(example.value)
    validator.validate(json.loads(event.model_dump_json(exclude_none=True)))


@each_example
def test_a_required_field_that_is_left_out_or_wrong_fits_neither_schema_nor_reader(example: Example) -> None:
    """So that the schema is no looser than the reader."""
    validator = VALIDATORS[type(example.decoded().event)]
    for field in validator.schema["required"]:
        without = {name: value for name, value in example.value.items() if name != field}
        for broken in (without, example.value | {field: [[]]}):
            assert not validator.is_valid(broken), field
            with pytest.raises(Undecodable, match=field):
                read(example, broken)


@each_example
def test_whatever_is_wrong_in_it_is_undecodable_and_nothing_else(example: Example) -> None:
    """A reader quarantines what is Undecodable; any other error of one record would end it again and again."""
    for field in example.value:
        for wrong in WRONG:
            try:
                read(example, example.value | {field: wrong})
            except Undecodable:
                continue


@each_example
def test_its_key_is_the_one_that_the_topic_promises(example: Example) -> None:
    promised = KEYS[example.topic.key](example.value)
    if example.topic.name.startswith("webhook-events") and "metadata" not in example.value["value"]:
        promised = example.value["entry_id"]
    assert promised in (None, example.key)


@each_example
def test_its_headers_are_cloudevents_or_none_at_all(example: Example) -> None:
    names = [name for name, _ in example.headers]
    if not names:
        assert len(example.topic.events) == 1, "without ce_type a record is taken as the topic's only kind"
        return
    assert set(names) >= {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"}
    assert header(example.headers, "ce_type") in EVENTS
    assert header(example.headers, "ce_source") in (*example.topic.writers, *_upstream(example))
    subject = header(example.headers, "ce_subject")
    assert subject in (None, *_message_ids(example.value))


def _upstream(example: Example) -> tuple[str, ...]:
    """Upstream producers name themselves."""
    return (example.value.get("producer", ""), "risk") if "upstream producers" in example.topic.writers else ()


def _message_ids(value: dict[str, Any]) -> list[Any]:
    return [value.get("message_id"), value.get("target"), value.get("intent", {}).get("message_id")]


@each_example
def test_it_says_why_it_exists_and_in_which_words_it_is_found(example: Example) -> None:
    assert len(example.note) > 10 and example.note.endswith(".")
    assert re.fullmatch(r"[a-z0-9_]{3,60}", example.name)


@each_example
def test_nobody_real_is_in_it(example: Example) -> None:
    """Phones are of the invented range; where the topic promises no personal data, there is none at all."""
    text = json.dumps(example.value, ensure_ascii=False)
    assert set(PHONE.findall(text)) <= FOREIGN_PHONES
    if not example.topic.personal_data:
        assert "919999" not in re.sub(r"wamid\.[A-Za-z0-9+/=]+", "", text)
        assert not {"to", "body", "text_body", "from_phone"} & set(example.value)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "person_key" in e.value], ids=str)
def test_a_person_key_is_the_pseudonym_of_the_phone_beside_it(example: Example) -> None:
    phone = example.value.get("to") or example.value.get("from_phone") or example.value.get("intent", {}).get("to")
    if phone is not None:
        assert example.value["person_key"] == person_key(PEPPER, phone)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "intent_hash" in e.value], ids=str)
def test_an_intents_hash_is_the_one_that_was_written_once(example: Example) -> None:
    """The lane knows a repeat by this hash for seven days: if a release changes it, every repeat of an older intent
    is refused as a conflict. A new optional field of an intent must therefore leave old hashes alone."""
    event = example.decoded().event
    if isinstance(event, ClearedIntent):
        assert event.intent.hash() == event.intent_hash
    elif isinstance(event, DispatchOrder):
        known = {e.value["intent"]["message_id"]: e.value["intent_hash"] for e in _cleared()}
        assert known.get(event.message_id, event.intent_hash) == event.intent_hash


def _cleared() -> list[Example]:
    return [*examples("cleared-intents"), *examples("cleared-intents-urgent")]


# --- replay: every example through every declared reader ---------------------------------------------------------

DECLARED = [(topic.name, reader) for topic in STREAMS for reader in topic.readers if reader != UPSTREAM]

QUARANTINED = {
    "field_of_the_future": "the field holograms is not known",
    "number_that_is_not_ours": "the phone number id is not in the governance file",
}
"""Webhook examples of which nothing can be applied; everything else must be."""


def test_the_readers_are_those_of_the_table() -> None:
    """A reader without a row is not replayed; a row without a reader: the table of topics is not the truth."""
    assert set(CONSUMERS) == set(DECLARED)


@pytest.mark.parametrize(("topic", "reader"), DECLARED)
def test_every_reader_takes_every_example_and_a_repetition_changes_nothing(topic: str, reader: str) -> None:
    """Hops are at least once: what comes twice gives the same events with the same ids, and the same state."""
    consumer = CONSUMERS[topic, reader]()
    replay(consumer, topic)
    once = deepcopy(consumer.seen())
    assert once
    replay(consumer, topic)
    assert consumer.seen() == once


def replay(consumer: Consumer, topic: str) -> None:
    for example in examples(topic):
        try:
            consumer.take(example)
        except Exception as error:
            error.add_note(f"while {example} was taken")
            raise


def test_only_what_nobody_knows_is_quarantined() -> None:
    found: dict[str, str] = {}
    for topic, reader in DECLARED:
        consumer = CONSUMERS[topic, reader]()
        if isinstance(consumer, Hop):
            replay(consumer, topic)
            found |= {name: said for name, said in consumer.results.items() if isinstance(said, str)}
    assert found == {name: f"refused: {reason}" for name, reason in QUARANTINED.items()}


def test_the_opt_out_words_of_the_examples_are_heard() -> None:
    consumer = CONSUMERS["inbound-messages", "compliance-guard"]()
    assert isinstance(consumer, Hop)
    replay(consumer, "inbound-messages")
    assert {name for name, outputs in consumer.results.items() if outputs} == {
        "stop_in_english", "stop_in_marathi", "start_again", "tap_on_a_button",
    }  # fmt: skip


def test_the_status_that_names_only_its_wamid_finds_its_message() -> None:
    """And the one of another system waits: no message names it."""
    consumer = CONSUMERS["message-lifecycle", "message-state"]()
    assert isinstance(consumer, MessageStates)
    replay(consumer, "message-lifecycle")
    alone = {e.value["wamid"] for e in examples("message-lifecycle") if "message_id" not in e.value}
    assert len(alone) == 2
    joined = {wamid for wamid in alone if consumer.named(wamid) is not None}
    assert len(joined) == 1 and alone - joined <= consumer.rows.keys()
