"""A second name that only the intent gives: it may be another person's, and opens no window (RTW-2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from harkara.contracts.envelope import Envelope
from harkara.contracts.identity import person_key
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CLEARED_INTENTS, PERSON_IDENTITIES, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.known import Known
from harkara.runtime.clock import ManualClock
from harkara.runtime.loop import Incoming
from harkara.window_router.effects import Router
from tests.unit.policy.cases import ALONE, NOW, TEMPLATE, TEXT, cleared, policy

PEPPER = b"a pepper of the tests"
PHONE, USER_ID = "+919999912345", "IN.20451873365519208877"
WRITTEN_TO, SECOND_NAME = person_key(PEPPER, PHONE), person_key(PEPPER, USER_ID)


def forms(known: Known) -> list[str]:
    """In which forms a text with a template behind it would go to the phone."""
    wanted = cleared(
        ALONE, WRITTEN_TO, to=PHONE, user_id=USER_ID, category="service", content=TEXT, fallback_template=TEMPLATE
    ).model_copy(update={"also_key": SECOND_NAME})
    envelope = Envelope(wanted, "1", "compliance-guard", NOW, wanted.intent.message_id, None)
    incoming = Incoming(CLEARED_INTENTS, 0, 0, b"", b"", [], NOW, envelope)
    order = list(Router(policy(), known, ManualClock(NOW)).route(incoming))[-1].event
    assert isinstance(order, DispatchOrder)
    return [each.form for each in order.plan]


@pytest.mark.req("RTW-2", "B17")
def test_only_a_name_that_is_linked_opens_the_window_of_who_is_written_to() -> None:
    known = Known(lambda: NOW)
    opened = ServiceWindow(phone_number_id=ALONE, person_key=SECOND_NAME, last_inbound_at=NOW - timedelta(hours=1))
    known.apply(SERVICE_WINDOWS, "", opened)
    assert forms(known) == ["template"]
    known.apply(
        PERSON_IDENTITIES, "", PersonAlias(person_key=WRITTEN_TO, alias_key=SECOND_NAME, kind="user_id", at=NOW)
    )
    assert forms(known) == ["session", "template"]
