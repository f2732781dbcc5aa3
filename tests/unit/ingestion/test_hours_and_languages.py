"""What a client says about hours and languages reaches the intent, by every way in."""

from __future__ import annotations

import io
from typing import Any

import pytest

from harkara.contracts.intents import SendIntent, Template
from harkara.ingestion.audience import parse_row, uploaded_rows
from harkara.ingestion.core import Sender, intent_of, run_intent
from harkara.ingestion.requests import AudienceEntry, RunRequest, SendRequest

SENDER = Sender("advisors", "advisors")
TEMPLATE = {"name": "daily_advice", "language": "en", "body": ["Asha"]}
HINDI = {"language": "hi", "body": ["आशा"]}


def of_run(entry: AudienceEntry, **run: Any) -> SendIntent:
    wanted = RunRequest.model_validate({"name": "advice", "template": TEMPLATE, "category": "utility"} | run)
    return run_intent(wanted, entry, message_id="m-abcdefgh", run_id="r-1", row=1, sender=SENDER, producer="tests")


@pytest.mark.req("RTW-8", "B16")
def test_a_single_message_names_language_zone_and_window() -> None:
    body = SendRequest.model_validate(
        {"to": "+919999912345", "category": "utility", "template": TEMPLATE | {"variants": [HINDI]}, "language": "mr",
         "timeZone": "Asia/Kolkata", "sendWindow": "morning-advice"}
    )  # fmt: skip
    intent = intent_of(body, message_id="m-abcdefgh", sender=SENDER, producer="tests")
    assert (intent.language, intent.time_zone, intent.send_window) == ("mr", "Asia/Kolkata", "morning-advice")
    assert isinstance(intent.content, Template) and intent.content.variants[0].language == "hi"


def test_a_run_names_the_window_and_each_row_its_zone_and_language() -> None:
    rows = uploaded_rows(io.BytesIO(b"to,language,time_zone\n+919999912345,hi,Asia/Kolkata\n"), "csv")
    [entry] = [parse_row(each) for each in rows]
    assert isinstance(entry, AudienceEntry)
    intent = of_run(entry, template=TEMPLATE | {"variants": [HINDI]}, sendWindow="morning-advice")
    assert (intent.language, intent.time_zone, intent.send_window) == ("hi", "Asia/Kolkata", "morning-advice")
    assert isinstance(intent.content, Template) and intent.content.language == "en"


def test_without_variants_the_rows_language_is_the_templates() -> None:
    intent = of_run(AudienceEntry(to="+919999912345", language="hi"))
    assert isinstance(intent.content, Template) and intent.content.language == "hi"
    assert intent.language is None and intent.time_zone is None and intent.send_window is None
