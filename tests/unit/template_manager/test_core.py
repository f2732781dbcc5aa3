"""What is known of a template: any order and any repetition of what was seen gives the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.event import Reason
from harkara.contracts.template_state import TemplateParameters, TemplateState
from harkara.contracts.templates import TemplateEvent, TemplateText
from harkara.template_manager.core import (
    FORGOTTEN_AFTER,
    NOTICE_DOUBT,
    Row,
    doubt_ends,
    is_forgotten,
    is_news,
    missing,
    next_row,
    notice_doubt_ends,
)
from harkara.template_manager.timetable import LONGEST_FAILURE_SECONDS, Timetable

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
WABA = "112233445566778"
NOW = AT + timedelta(hours=1)


def seen(kind: str = "status", after: float = 0.0, **more: Any) -> TemplateEvent:
    told = {
        "waba_id": WABA,
        "name": "daily_advice",
        "language": "en",
        "kind": kind,
        "at": AT + timedelta(seconds=after),
    }
    return TemplateEvent.model_validate(told | more)


def listed(after: float = 0.0, **more: Any) -> TemplateEvent:
    told = {"status": "APPROVED", "category": "UTILITY", "quality": "GREEN", "content_hash": "a" * 16}
    return seen("listed", after, source="sync", parameters=TemplateParameters(body_values=("1",)), **(told | more))


def folded(*events: TemplateEvent) -> Row:
    row: Row | None = None
    for event in events:
        row = next_row(row, event, NOW) or row
    assert row is not None
    return row


def state(*events: TemplateEvent) -> TemplateState:
    return TemplateState.model_validate(folded(*events))


@pytest.mark.req("TPL-2")
def test_the_list_says_status_category_and_values() -> None:
    found = state(listed())
    assert (found.status, found.category, found.quality) == ("APPROVED", "UTILITY", "GREEN")
    assert found.parameters is not None and found.parameters.body_values == ("1",) and found.content_hash == "a" * 16


@pytest.mark.req("CMP-11")
def test_the_wording_is_the_one_that_was_listed_last_whatever_became_of_the_template() -> None:
    first, second = listed(wording="Dear {{1}}, hello."), listed(60, wording="Dear {{1}}, good morning.")
    assert state(first).wording == "Dear {{1}}, hello."
    assert state(second, first).wording == state(first, second).wording == "Dear {{1}}, good morning."
    for gone in (
        seen("missing", 120, source="sync"),
        seen("status", 120, event="DISABLED", status="DISABLED"),
        seen("status", 120, event="REJECTED", status="REJECTED"),
    ):
        found = state(first, second, gone)
        assert found.status != "APPROVED" and found.wording == "Dear {{1}}, good morning."


def test_of_two_wordings_of_one_time_and_hash_the_order_does_not_matter() -> None:
    one, other = listed(wording="Dear {{1}}, hello."), listed()
    assert state(one, other).wording == state(other, one).wording == "Dear {{1}}, hello."


def test_a_row_of_before_wordings_were_kept_learns_its_own_with_the_next_list() -> None:
    before = folded(listed())
    del before["wording"]
    del before["facts"]["content"]["parameters"]["other"]  # as any row that an older version wrote
    assert TemplateState.model_validate(before).wording is None
    assert is_news(before, listed(60, wording="Dear {{1}}, hello.")) and not is_news(before, listed(60))
    after = next_row(before, listed(60, wording="Dear {{1}}, hello."), NOW)
    assert after is not None and after["wording"] == "Dear {{1}}, hello." and after["version"] == before["version"] + 1
    assert after["content_hash"] == before["content_hash"]


@pytest.mark.req("TPL-3")
def test_a_notice_counts_from_its_time_and_an_older_one_never_overwrites() -> None:
    paused = seen(after=10, event="PAUSED", status="PAUSED", title="FIRST_PAUSE", until=AT + timedelta(hours=3))
    found = state(listed(), paused)
    assert found.status == "PAUSED" and found.paused_until == AT + timedelta(hours=3)
    assert state(paused, listed()).status == "PAUSED"
    resumed = seen(after=20, event="APPROVED", status="APPROVED", title="UNPAUSE")
    assert state(resumed, paused, listed()).status == "APPROVED"
    assert state(resumed, paused, listed()).paused_until is None
    assert state(listed(), seen("quality", 5, quality="RED"), seen("quality", 3, quality="YELLOW")).quality == "RED"


def test_a_pause_that_is_seen_beyond_its_end_has_none_any_more() -> None:
    paused = seen(event="PAUSED", status="PAUSED", until=AT + timedelta(hours=3))
    still = listed(3 * 3600 + 60, status="PAUSED")
    assert state(paused, still).paused_until is None
    assert state(paused, listed(60, status="PAUSED")).paused_until == AT + timedelta(hours=3)


def test_a_lanes_refusal_pauses_without_an_end_and_the_list_has_the_last_word() -> None:
    refused = seen(after=5, source="dispatcher", status="PAUSED", reason=Reason(code="meta_132015", text="Paused."))
    found = state(listed(), refused)
    assert found.status == "PAUSED" and found.paused_until is None
    assert found.reason is not None and found.reason.code == "meta_132015"
    assert state(listed(), refused, listed(65)).status == "APPROVED"


def test_at_the_same_second_the_stricter_word_counts() -> None:
    words = [seen(status="APPROVED", event="APPROVED"), seen(status="PAUSED", event="PAUSED")]
    assert state(*words).status == state(*reversed(words)).status == "PAUSED"


def refused_call(after: float = 0.0, status: str = "PAUSED") -> TemplateEvent:
    return seen("status", after, source="dispatcher", status=status)


@pytest.mark.req("B13", "TPL-3")
def test_a_list_that_lags_behind_a_refused_call_is_doubted_for_a_minute() -> None:
    seen_so_far = [listed(), refused_call(60)]
    assert state(*seen_so_far).status == "PAUSED"
    assert not is_news(folded(*seen_so_far), listed(70)), "nobody is let go to be held again"
    assert doubt_ends(folded(*seen_so_far)) == AT + timedelta(seconds=120)
    assert state(*seen_so_far, listed(119)).status == "PAUSED"
    found = state(*seen_so_far, listed(120))
    assert (found.status, found.status_at) == ("APPROVED", AT + timedelta(seconds=120))
    assert doubt_ends(folded(*seen_so_far, listed(120))) is None


def test_a_list_is_doubted_longer_the_more_often_calls_were_refused_though_it_said_approved() -> None:
    minute, at, events, doubts = 60.0, 0.0, [listed()], list[float]()
    for _ in range(9):
        lanes = [refused_call(at), refused_call(at + 0.2)]  # two lanes, one cycle
        events += lanes
        end = doubt_ends(folded(*events))
        assert end is not None
        doubts.append(((end - AT).total_seconds() - at - 0.2) / minute)
        at = (end - AT).total_seconds() + minute
        events.append(listed(at - minute))
        assert state(*events).status == "APPROVED"
    assert [round(each) for each in doubts] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    after = at + 30 * 3600
    assert doubt_ends(folded(*events, refused_call(after))) == AT + timedelta(seconds=after + minute), "a day later"


def test_rows_of_before_and_for_those_who_know_no_doubt_read_the_same() -> None:
    """While one version takes over from another: `status` is the newest word of all, as it always was."""
    later = [refused_call(60), listed(70)]
    before = folded(listed())
    assert before["facts"]["status"]["status"] == folded(*later)["facts"]["status"]["status"] == "APPROVED"
    known = {name: value for name, value in before["facts"].items() if name != "unlisted"}
    row: Row | None = before | {"facts": known}
    for event, status in zip([*later, listed(120)], ["PAUSED", "PAUSED", "APPROVED"], strict=True):
        row = next_row(row, event, AT) or row
        assert row is not None and row["status"] == status


@pytest.mark.req("TPL-3")
def test_a_notice_of_meta_and_a_list_that_agrees_are_not_doubted() -> None:
    notice = seen(after=61, status="APPROVED")
    assert state(listed(), refused_call(60), notice).status == "APPROVED"
    assert state(listed(), refused_call(60), listed(65, status="REJECTED")).status == "REJECTED"
    assert doubt_ends(folded(listed())) is None


@pytest.mark.parametrize(("told", "status"), [(59, "PAUSED"), (60, "APPROVED"), (61, "APPROVED")])
def test_an_approval_told_in_the_second_of_a_refusal_ends_the_doubt_of_the_list(told: float, status: str) -> None:
    """A call is refused, the template is resumed, and its notice says the whole second: it must not wait a minute."""
    words = [listed(), refused_call(60.7), seen(after=told, status="APPROVED"), listed(61.5)]
    assert {state(*order).status for order in permutations(words)} == {status}


DOUBT = NOTICE_DOUBT.total_seconds()
PAUSE = seen(after=10, status="PAUSED", title="FIRST_PAUSE", until=AT + timedelta(hours=3))
DEARER = seen("category", 10, category="MARKETING", previous_category="UTILITY")


@pytest.mark.req("B12", "B13", "TPL-3")
@pytest.mark.parametrize(
    ("notice", "lagging", "told"),
    [
        (PAUSE, listed(15), {"status": "PAUSED", "paused_until": AT + timedelta(hours=3)}),
        (DEARER, listed(15), {"category": "MARKETING", "category_before": "UTILITY"}),
        (seen(after=10, status="APPROVED", category="MARKETING"), listed(15), {"category": "MARKETING"}),
        (seen("quality", 10, quality="RED"), listed(15), {"quality": "RED"}),
        (seen(after=10, status="APPROVED"), seen("missing", 25, source="sync"), {"status": "APPROVED"}),
    ],
    ids=["a pause", "a category", "a category beside a status", "a quality", "one that the list does not have yet"],
)
def test_a_list_that_lags_behind_a_notice_undoes_nothing_until_it_is_read_again(
    notice: TemplateEvent, lagging: TemplateEvent, told: dict[str, Any]
) -> None:
    for order in permutations([listed(), notice, lagging]):
        found = state(*order)
        assert {name: getattr(found, name) for name in told} == told
    noticed = folded(listed(), notice)
    assert notice_doubt_ends(noticed) == AT + timedelta(seconds=10 + DOUBT), "then it is read again, whatever it said"
    at_once, within, after = (
        lagging.model_copy(update={"at": notice.at + timedelta(seconds=n)}) for n in (0, DOUBT - 1, DOUBT)
    )
    assert not is_news(noticed, at_once) and not is_news(noticed, within) and is_news(noticed, after), (
        "and has the last word"
    )
    undone = state(listed(), notice, lagging, after)
    assert any(getattr(undone, name) != value for name, value in told.items())


@pytest.mark.req("TPL-3")
def test_a_resumption_is_not_undone_by_a_list_that_still_has_the_pause() -> None:
    resumed = seen(after=500, status="APPROVED", title="UNPAUSE")
    assert state(listed(), PAUSE, resumed, listed(505, status="PAUSED")).status == "APPROVED"
    cheaper = seen("category", 500, category="UTILITY", previous_category="MARKETING")
    found = state(listed(), DEARER, cheaper, listed(505, category="MARKETING"), listed(520))
    assert (found.category, found.category_before) == ("UTILITY", "MARKETING")


@pytest.mark.req("TPL-3")
def test_of_two_notices_in_one_second_the_list_tells_the_later() -> None:
    words = [listed(), PAUSE, seen(after=10, status="APPROVED"), DEARER, seen("category", 10, category="UTILITY")]
    assert {(state(*order).status, state(*order).category) for order in permutations(words)} == {
        ("PAUSED", "MARKETING")
    }
    found = state(*words, listed(15))
    assert (found.status, found.category) == ("APPROVED", "UTILITY")


@pytest.mark.req("TPL-3")
def test_a_list_that_says_what_was_never_seen_before_the_notice_is_newer_than_it() -> None:
    assert state(listed(), PAUSE, listed(15, status="DISABLED")).status == "DISABLED"
    assert state(listed(), DEARER, listed(15, category="AUTHENTICATION")).category == "AUTHENTICATION"
    assert state(listed(), seen("quality", 10, quality="RED"), listed(15, quality="YELLOW")).quality == "YELLOW"
    assert state(listed(), PAUSE, listed(15, status="HOLOGRAM")).status == "PAUSED", "a word that says nothing"


@pytest.mark.req("B13")
def test_a_call_refused_after_the_notice_keeps_the_newer_reason_while_the_list_lags() -> None:
    refused = seen(after=12, source="dispatcher", status="PAUSED", reason=Reason(code="meta_132015", text="Paused."))
    found = state(listed(), PAUSE, refused, listed(100))
    assert (found.status, found.reason) == ("PAUSED", refused.reason)
    assert state(listed(), PAUSE, refused, listed(10 + DOUBT)).status == "APPROVED"


def edited(after: float, body: str | None) -> TemplateEvent:
    return seen("components", after, text=TemplateText(body=body))


@pytest.mark.req("B12", "TPL-2")
def test_an_edit_says_which_values_the_body_takes_before_the_list_does() -> None:
    def takes(*events: TemplateEvent) -> tuple[bool, tuple[str, ...]]:
        wanted = state(listed(), *events).parameters
        assert wanted is not None
        return wanted.named, wanted.body_values

    assert takes(edited(10, "Hello {{1}}, order {{2}}."), listed(15)) == (False, ("1", "2"))
    assert takes(edited(10, "Hello {{name}}."), listed(15)) == (True, ("name",))
    assert takes(edited(10, "Hello {{1}}, order {{2}}."), listed(10 + DOUBT)) == (False, ("1",)), "the doubt is over"
    for unclear in ("Hello Asha, order 77.", None):
        assert takes(edited(10, unclear), listed(15)) == (False, ("1",)), "it may be shown with its examples"
    assert state(edited(10, "Hello {{1}}.")).parameters is None, "the header and the buttons are not known"
    assert notice_doubt_ends(folded(listed(), edited(10, None))) == AT + timedelta(seconds=10 + DOUBT)


@pytest.mark.req("B12", "TPL-2")
def test_what_a_notice_approves_after_a_review_goes_once_its_content_was_read() -> None:
    """An edit is reviewed; all that waited would go at the approval, and by the values of before."""
    review, approved = seen(after=1000, status="PENDING"), seen(after=5000, status="APPROVED")
    words = [listed(), review, approved]
    for order in permutations(words):
        found = state(*order)
        assert found.status == "PENDING" and found.reason is not None and found.reason.code == "content_unread"
    same, other = listed(5006), listed(5006, content_hash="b" * 16)
    for each in (same, other):
        assert is_news(folded(*words), each)
        for order in permutations([*words, each]):
            assert state(*order).status == "APPROVED"
    lagging = listed(5006, status="PENDING")
    assert state(*words, lagging).status == "APPROVED", "the list was read, and only its status is behind"
    during = listed(1000 + DOUBT, status="PENDING", content_hash="b" * 16)
    assert state(*words, during).status == "APPROVED", "it was read while it was reviewed"
    assert state(*words, listed(1000 + DOUBT - 1, status="PENDING")).status == "PENDING", "perhaps of before the edit"


@pytest.mark.req("TPL-3")
def test_an_approval_without_a_review_or_without_a_list_counts_at_once() -> None:
    approved = seen(after=5000, status="APPROVED")
    assert state(listed(), PAUSE, approved).status == "APPROVED"
    assert state(seen(after=1000, status="PENDING"), approved).status == "APPROVED", "no list is read"
    resumed = seen(after=99_000, status="APPROVED")
    assert state(seen(status="PENDING"), listed(DOUBT + 10), PAUSE, resumed).status == "APPROVED"
    assert state(listed(), approved, seen(after=6000, status="PENDING")).status == "PENDING"


@pytest.mark.req("B12")
def test_a_change_of_category_says_the_one_before_and_an_announcement_is_no_change() -> None:
    announced = seen("category", 5, category="UTILITY", correct_category="MARKETING", effective_at=AT + timedelta(1))
    found = state(listed(), announced)
    assert found.category == "UTILITY" and found.correct_category == "MARKETING"
    assert found.effective_at == AT + timedelta(days=1)
    changed = seen("category", 9, category="MARKETING", previous_category="UTILITY")
    for events in ((listed(), announced, changed), (changed, announced, listed()), (announced, changed)):
        found = state(*events)
        assert (found.category, found.category_before, found.correct_category) == ("MARKETING", "UTILITY", None)


EVENTS = [
    listed(0), listed(3, status="PAUSED"), listed(9, status="APPROVED", content_hash="b" * 16),
    seen(after=2, event="PAUSED", status="PAUSED", until=AT + timedelta(hours=3)),
    seen(after=2, event="APPROVED", status="APPROVED", category="UTILITY"),
    seen(after=4, source="dispatcher", status="PAUSED", reason=Reason(code="meta_132015", text="x")),
    seen(after=5, event="FLAGGED", status=None), seen("quality", 3, quality="RED"), seen("quality", 3, quality="GREEN"),
    seen("category", 6, category="MARKETING", previous_category="UTILITY"),
    seen("category", 5, category="UTILITY", correct_category="MARKETING"), seen("components", 7),
    seen("missing", 8, source="sync"), seen(after=8, event="DISABLED", status="DISABLED"),
    seen(after=1, event="HOLOGRAM", status="HOLOGRAM"), listed(70), listed(140),
    *(seen(after=60 * n + 5, source="dispatcher", status="PAUSED") for n in range(9)), listed(9000),
    seen("category", 300, category="UTILITY", previous_category="MARKETING"), listed(305, category="MARKETING"),
    seen(after=300, status="APPROVED"), listed(310, status="DISABLED"), seen("quality", 300, quality="YELLOW"),
    seen(after=301, status="PENDING"), seen(after=302, status="APPROVED"),
    edited(300, "Hello {{1}}, order {{2}}."), edited(300, "Hello {{name}}."), listed(8, category="AUTHENTICATION"),
]  # fmt: skip


@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_repetition_gives_the_same(events: list[TemplateEvent], random: Any) -> None:
    shuffled = [*events, *random.choices(events, k=5)]
    random.shuffle(shuffled)
    unordered = {"version", "updated_at"}
    one, other = folded(*events), folded(*shuffled)
    assert {k: v for k, v in one.items() if k not in unordered} == {
        k: v for k, v in other.items() if k not in unordered
    }


def test_two_thousand_orders_of_notices_refusals_and_lists_give_one_state() -> None:
    """Words that contradict each other within the doubts of one another."""
    refused = seen(after=305, source="dispatcher", status="PAUSED")
    words = [listed(), PAUSE, DEARER, listed(15), refused, *EVENTS[-10:]]
    unordered = {"version", "updated_at"}
    random, first = Random(6), folded(*words)
    assert (first["status"], first["category"], first["quality"]) == ("DISABLED", "UTILITY", "YELLOW")
    for _ in range(2000):
        row = folded(*random.sample(words, len(words)))
        assert {name for name in row if row[name] != first[name]} <= unordered


def test_a_word_that_nobody_knows_says_nothing() -> None:
    assert state(seen(event="HOLOGRAM", status="HOLOGRAM")).status == "UNKNOWN"


def test_the_version_grows_only_where_a_reader_sees_a_difference() -> None:
    first = folded(listed())
    again = next_row(first, listed(60), NOW + timedelta(hours=1))
    assert again is not None and again["version"] == first["version"] and again["updated_at"] == first["updated_at"]
    assert next_row(again, listed(60), NOW) is None
    other = next_row(again, listed(70, quality="YELLOW"), NOW)
    assert other is not None and other["version"] == first["version"] + 1


@pytest.mark.req("TPL-2")
def test_only_what_is_news_is_written_of_a_list_and_what_is_missing_is_deleted_with_a_reason() -> None:
    row = folded(listed())
    assert is_news(None, listed()) and not is_news(row, listed(60)) and is_news(row, listed(60, status="REJECTED"))
    paused = folded(seen(event="PAUSED", status="PAUSED", reason=Reason(code="FIRST_PAUSE", text="x")), row_of_values())
    assert not is_news(paused, listed(60, status="PAUSED")), "the list gives no reason for a pause"
    key = listed().key
    assert missing({key: row}, {key}, NOW) == []
    (gone,) = missing({key: row}, set(), NOW)
    deleted = next_row(row, gone, NOW)
    assert deleted is not None and deleted["status"] == "DELETED" and deleted["reason"]["code"] == "not_listed"
    assert missing({key: deleted}, set(), NOW) == []
    assert missing({key: row}, set(), AT) == [], "it was seen after the list was asked for"
    assert not is_forgotten(deleted, NOW + FORGOTTEN_AFTER - timedelta(seconds=1))
    assert is_forgotten(deleted, NOW + FORGOTTEN_AFTER) and not is_forgotten(row, NOW + 2 * FORGOTTEN_AFTER)


def row_of_values() -> TemplateEvent:
    """A list of before the pause."""
    return listed(-60)


def test_a_list_is_read_soon_after_a_notice_and_within_the_budget_of_calls() -> None:
    times = Timetable.first(100.0, 0.5)
    assert times.due == 102.5
    times.begin()
    times.read(103.0, 2, 900.0)
    assert times.due == 1003.0
    for n in range(50):  # a burst of notices
        times.soon(104.0 + n / 100)
    assert times.due == 115.0, "12 s after two calls: 600 an hour"
    times.begin()
    times.read(115.0, 60, 900.0)
    times.soon(116.0)
    assert times.due == 115.0 + 360.0
    times.begin()
    times.read(500.0, 1000, 900.0)
    assert times.due == 6500.0, "a list of a thousand pages is read as often as the budget lets it"


def test_what_is_told_while_the_list_is_read_asks_for_another_reading() -> None:
    times = Timetable.first(0.0, 0.0)
    times.begin()
    times.soon(2.0)
    times.read(3.0, 1, 900.0)
    assert times.due == 13.0, "at once, as far as the budget goes"
    times.begin()
    times.read(14.0, 1, 900.0)
    assert times.due == 914.0


def test_failures_wait_longer_each_time_and_never_more_than_an_hour() -> None:
    times, waits = Timetable.first(0.0, 0.0), []
    for n in range(12):
        waits.append(times.failed(1000.0 * n, None))
        times.soon(1000.0 * n)
        assert times.due == 1000.0 * n + waits[-1], "a notice does not shorten it"
    assert waits[:4] == [30.0, 60.0, 120.0, 240.0] and max(waits) == LONGEST_FAILURE_SECONDS
    assert times.failed(0.0, 7200.0) == 7200.0
    times.read(0.0, 1, 900.0)
    assert times.failed(0.0, None) == 30.0
