"""A text that repeats a template's wording that may not go that way: known whole and in pieces, whatever was filled in
and however it is written; and nothing that an approved template says too."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.event import Decision
from harkara.contracts.intents import Category, Content, Media, Template, Text
from harkara.contracts.template_state import TemplateState
from harkara.policy import fallback
from harkara.policy.explain import decided_again
from harkara.policy.resolve import resolve
from harkara.policy.routing import NoRoute, Planned, Surroundings, decision_of, plan
from harkara.policy.whatif import Comparison
from harkara.policy.wordings import MOST_SHARED, Repeat, Wordings, _words_in, refusal_of, repeat_in, words_of
from tests.unit.policy.cases import ALONE, NOW, PERSON, TEMPLATE, TEXT, cleared, intent, policy

OFFER = (
    "Dear {{1}}, our festival offer on gold plans ends this Sunday at midnight, so join now and save {{2}} percent on "
    "every instalment that you pay before the new year begins."
)
FILLED = OFFER.replace("{{1}}", "Asha Rao").replace("{{2}}", "12.5")
ALERT = "Your instalment of {{1}} is due on {{2}}, and please keep enough balance in your bank account until then."
POLITE = "please feel free to write to us at any time"  # ten words, which any text may say
HINDI = "नमस्ते {{1}} जी, हमारी त्योहार की योजना में आज ही जुड़ें और हर किस्त पर बचत पाएँ, यह अवसर बन्द होने वाला है।"


def state(
    name: str, wording: str | None, status: str = "APPROVED", category: str | None = "UTILITY", **more: Any
) -> Any:
    told = {"waba_id": "200000000000001", "language": "en", "version": 1, "observed_at": NOW, "updated_at": NOW}
    return TemplateState.model_validate(
        told | {"name": name, "wording": wording, "status": status, "category": category} | more
    )


def known(*states: TemplateState) -> Wordings:
    found = Wordings()
    for each in states:
        found.put(each.key, each)
    return found


MARKETING = state("offer", OFFER, category="MARKETING")
REJECTED = state("offer", OFFER, "REJECTED")


def repeated(text: str, *states: TemplateState, category: Category = "utility") -> Repeat | None:
    return known(*(states or (MARKETING,))).repeats(text, category)


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize("status", ["REJECTED", "DISABLED"])
@pytest.mark.parametrize("category", ["utility", "service", "marketing", "authentication"])
def test_what_meta_refused_for_good_is_said_in_no_category(status: str, category: Category) -> None:
    found = repeated(FILLED, state("offer", OFFER, status), category=category)
    assert found == Repeat(template="offer:en", status=status, category="UTILITY", position=16, share=1.0)


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize(
    ("dear", "refused", "passing"),
    [
        ("MARKETING", ("utility", "service", "authentication"), ("marketing",)),
        ("AUTHENTICATION", ("utility", "service"), ("authentication", "marketing")),
        ("UTILITY", (), ("utility", "service", "authentication", "marketing")),
        (None, (), ("utility", "service", "authentication", "marketing")),
    ],
)
def test_a_dearer_templates_wording_is_refused_and_no_others(
    dear: str | None, refused: tuple[Category, ...], passing: tuple[Category, ...]
) -> None:
    index = known(state("offer", OFFER, category=dear))
    assert [each for each in refused if index.repeats(FILLED, each) is None] == []
    assert [each for each in passing if index.repeats(FILLED, each) is not None] == []


@pytest.mark.parametrize("status", ["PENDING", "PAUSED", "DELETED", "IN_APPEAL", "UNKNOWN", "APPROVED"])
def test_whatever_becomes_of_a_dearer_template_its_wording_is_as_dear(status: str) -> None:
    assert repeated(FILLED, state("offer", OFFER, status, "MARKETING")) is not None
    assert repeated(FILLED, state("offer", OFFER, status)) is None


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize(
    ("status", "why", "refused"),
    [
        ("REJECTED", "INVALID_FORMAT", False),
        ("REJECTED", "CATEGORY_NOT_AVAILABLE", False),
        ("REJECTED", "TAG_CONTENT_MISMATCH", True),
        ("REJECTED", "ABUSIVE_CONTENT", True),
        ("DISABLED", "INVALID_FORMAT", True),
    ],
)
def test_what_meta_refused_for_its_form_may_be_said(status: str, why: str, refused: bool) -> None:
    told = {"code": why, "text": "Meta's review rejected it."}
    assert (repeated(FILLED, state("offer", OFFER, status, reason=told)) is not None) is refused
    assert repeated(FILLED, state("offer", OFFER, status, "MARKETING", reason=told)) is not None, "and it is as dear"


WRITTEN_OTHERWISE = [
    FILLED.upper(),
    FILLED.replace(" ", "\n\n"),
    FILLED.replace(" ", " - "),
    FILLED.replace(" ", " \u00a0"),
    FILLED.replace("festival", "*festival*").replace("midnight", "_midnight_!!"),
    FILLED.replace("o", "о").replace("a", "а"),  # Cyrillic
    FILLED.replace("e", "é"),
    FILLED.replace("e", "e\u0301"),
    FILLED.replace("gold", "𝐠𝐨𝐥𝐝").replace("save", "ＳＡＶＥ"),
    FILLED.replace("festival", "fes\u200btival").replace("join", "j\u2060oin").replace("gold", "go\x00ld"),
    FILLED.replace("Sunday", "Monday"),
    f"Good morning. {FILLED} Thank you!",
    FILLED.replace("Asha Rao", "Shri Ashok Kumar Venkataraman Iyer").replace("12.5", "one hundred and twenty five"),
]


@pytest.mark.req("CMP-11")
@pytest.mark.parametrize("text", WRITTEN_OTHERWISE)
def test_it_is_known_however_it_is_written(text: str) -> None:
    assert repeated(text) is not None


def test_it_is_known_in_other_scripts_too() -> None:
    hindi = state("offer", HINDI, category="MARKETING", language="hi")
    filled = HINDI.replace("{{1}}", "आशा")
    for text in (filled, filled.replace("बन्द", "बंद"), filled.replace("पाएँ", "पाएं")):
        found = repeated(text, hindi)
        assert found is not None and (found.template, found.share, found.position) == ("offer:hi", 1.0, 12)
    composed = "अमुक फ़सल की ज़रूरी सूचना आज सब किसानों को मिल जाएगी".replace("फ़", "\u095e")
    apart = composed.replace("\u095e", "फ\u093c")
    assert composed != apart and words_of(composed) == words_of(apart)
    assert words_of("\u09aa\u09c7\u09be") == words_of("\u09aa\u09cb"), "a vowel sign of two parts (Bengali)"


def test_the_position_is_that_in_the_text_as_it_was_given() -> None:
    for before in ("", "  ", "Hm... ", "ok, ok: ", "\u200b\u200b", "ﷺ ", "नमस्ते! ", "½ ", "e\u0301 "):
        text = before + FILLED
        found = repeated(text)
        assert found is not None and text[found.position - 1 :].startswith("our festival"), before


@pytest.mark.parametrize("note", ["\U0001d160", "\U0001d1bd"])
def test_notes_of_music_that_are_taken_apart_move_no_position(note: str) -> None:
    text = f"la{note * 12} {FILLED}"
    found = repeated(text)
    assert found is not None and text[found.position - 1 :].startswith("our festival")


@pytest.mark.req("CMP-11")
def test_a_wording_spread_over_several_messages_is_known_in_each() -> None:
    pieces = [
        "Dear Asha, our festival offer on gold plans ends this Sunday",
        "at midnight, so join now and save 12.5 percent on every instalment",
        "that you pay before the new year begins.",
    ]
    shares = [found.share if (found := repeated(each)) else None for each in pieces]
    assert shares == [round(9 / 11, 2), round(11 / 13, 2), 1.0]


def test_fewer_than_eight_words_and_a_piece_among_others_are_no_repeat() -> None:
    words = "our festival offer on gold plans ends this".split()
    assert repeated(" ".join(words)) is not None and repeated(" ".join(words[:7])) is None
    assert repeated(" ".join(words[:7]) + " now") is None and repeated(" ".join(words) + " now") is not None
    seven = state("seven", " ".join(words[:7]), "REJECTED")
    assert repeated(" ".join(words[:7]) + " now", seven) is None, "it says no more than that"
    two, three = " or so", " or so we heard"
    assert repeated(" ".join(words) + two) is not None, "8 of 10"
    assert repeated(" ".join(words) + three) is None, "8 of 12"
    assert repeated("gold plans our offer ends Sunday join festival now on this so at midnight save") is None


def test_most_of_a_template_is_a_repeat_in_however_long_a_text() -> None:
    around = (
        "Here is what we talked about this morning when you asked me what else there might be for your savings. " * 5
    )
    found = repeated(around + FILLED + around)
    assert found is not None and found.share == 1.0 and found.position == len(around) + 16
    half = FILLED[15 : FILLED.index("so join")]
    assert repeated(around + half + around) is None and repeated(half) is not None
    seventy = (
        "our festival offer on gold plans ends this Sunday at midnight, so join now and save 2 percent on every other"
    )
    assert repeated(around + seventy) is None


def test_a_polite_sentence_that_is_all_a_template_says_may_stand_in_any_text() -> None:
    short = state("polite", POLITE.capitalize() + " {{1}}", category="MARKETING")
    statement = "Your statement for October was sent by post to your registered address this morning, and "
    assert repeated(statement + POLITE, short) is None
    assert repeated(POLITE, short) is not None and repeated(statement[41:] + POLITE, short) is not None
    ten = "it was sent by post to your address this morning"
    assert repeated(f"{ten}: {POLITE}", short) is not None and repeated(f"{ten}, dear: {POLITE}", short) is None, "half"
    for more, known_again in ((" soon", False), (" you like", True)):
        longer = state("polite", POLITE + more, category="MARKETING")
        assert (repeated(statement + POLITE + more, longer) is not None) is known_again


@pytest.mark.req("CMP-11")
def test_what_an_approved_template_says_too_is_innocent() -> None:
    shared = "And please keep enough balance in your bank account until then."
    dear = state("offer", f"{OFFER} {ALERT}", category="MARKETING")
    alert = state("alert", ALERT)
    assert repeated(shared, dear) is not None and repeated(shared, dear, alert) is None
    assert repeated(shared, dear, state("alert", ALERT, "PAUSED")) is None
    for refused in ("PENDING", "REJECTED", "DELETED", "UNKNOWN"):
        assert repeated(shared, dear, state("alert", ALERT, refused)) is not None, refused
    assert repeated(shared, dear, state("alert", ALERT, category="MARKETING")) is not None
    assert repeated(FILLED, state("one", OFFER, "REJECTED"), state("two", OFFER)) is None, "approved in the second go"
    assert repeated(FILLED, state("one", OFFER, "REJECTED"), state("two", OFFER, category="MARKETING")) is not None


def test_innocent_words_count_neither_for_a_text_nor_for_a_template() -> None:
    alert, dear = state("alert", ALERT), state("offer", f"{ALERT} {OFFER}", category="MARKETING")
    boilerplate = "please keep enough balance in your bank account until then. "
    piece = "our festival offer on gold plans ends this Sunday at midnight"
    found = repeated(boilerplate + piece, dear, alert)
    assert found is not None and found.share == 1.0 and found.position == len(boilerplate) + 1
    chat = "I am writing to you since we had no time to speak on the phone today about your papers and signatures. "
    assert (found := repeated(chat + FILLED, dear, alert)) is not None and found.share > 0.9
    assert repeated(chat + FILLED, dear) is None, "with the other half of its wording missing"


def test_what_is_innocent_is_looked_for_again_when_a_template_comes_or_goes() -> None:
    alert, dear = state("alert", ALERT), state("offer", f"{ALERT} {OFFER}", category="MARKETING")
    text = f"I am writing to you since we had no time to speak on the phone today about your papers. {FILLED}"
    index = known(dear)
    for _ in range(2):
        assert index.repeats(text, "utility") is None, "half of the template is missing"
        index.put(alert.key, alert)
        assert index.repeats(text, "utility") is not None, "that half says nothing"
        index.remove(alert.key)


def test_what_very_many_templates_say_tells_none_of_them() -> None:
    footer = "Write the word stop if you do not want to hear from us again, and we will not write."
    each = [state(f"t{n}", f"Number {n}: {footer}", category="MARKETING") for n in range(MOST_SHARED + 1)]
    index = known(*each[:-1])
    assert index.repeats(footer, "utility") is not None
    index.put(each[-1].key, each[-1])
    assert index.repeats(footer, "utility") is None
    index.remove(each[0].key)
    assert index.repeats(footer, "utility") is not None
    for one in each:
        index.remove(one.key)
    assert index.repeats(footer, "utility") is None


def test_of_several_the_one_that_is_repeated_most_is_named() -> None:
    other = state("another", f"{OFFER} It is only for those who asked us for it by letter.", category="MARKETING")
    found = repeated(f"Hello and good morning to all of you. {FILLED}", other, MARKETING)
    assert found is not None and found.template == "offer:en"
    first, second = state("first", OFFER, category="MARKETING"), state("second", OFFER + "!", category="MARKETING")
    for order in ((first, second), (second, first)):
        assert (found := repeated(FILLED, *order)) is not None and found.template == "first:en"
    elsewhere = state("first", OFFER + "!", "REJECTED", waba_id="300000000000001")
    for order in ((first, elsewhere), (elsewhere, first)):
        assert (found := repeated(FILLED, *order)) is not None and found.status == "REJECTED", "in whatever order"
    account = state("refused", OFFER, "REJECTED", waba_id="300000000000001")
    assert (found := repeated(FILLED, first, account)) is not None and found.template == "refused:en"
    longer = state("longer", "Hear this: " + FILLED + " For everybody.", category="MARKETING")
    assert (found := repeated(FILLED, first, longer)) is not None and found.share == 1.0


def test_a_template_that_changes_is_known_as_it_is_now() -> None:
    index = known(MARKETING)
    index.put(MARKETING.key, state("offer", OFFER))
    assert index.repeats(FILLED, "utility") is None
    index.put(MARKETING.key, state("offer", OFFER, "REJECTED"))
    assert index.repeats(FILLED, "utility") is not None
    index.put(MARKETING.key, state("offer", ALERT, "REJECTED"))
    assert index.repeats(FILLED, "utility") is None
    assert index.repeats(ALERT.replace("{{1}}", "5").replace("{{2}}", "Monday"), "utility") is not None
    index.put(MARKETING.key, state("offer", None, "REJECTED"))
    assert index.repeats(ALERT, "utility") is None
    index.remove(MARKETING.key)
    index.remove("never/known/en")


def test_the_same_wording_in_two_accounts_goes_with_the_last_of_them() -> None:
    one, two = MARKETING, state("offer", OFFER, category="MARKETING", waba_id="300000000000001")
    index = known(one, two)
    index.remove(one.key)
    assert index.repeats(FILLED, "utility") is not None
    index.remove(two.key)
    assert index.repeats(FILLED, "utility") is None
    index.put(one.key, one)
    assert index.repeats(FILLED, "utility") is not None


def test_an_index_of_changes_is_the_index_of_what_is_there() -> None:
    chosen = random.Random(20261121)
    said = [OFFER, ALERT, f"{OFFER} {ALERT}", f"{POLITE}, {{{{1}}}}, {POLITE}", None]
    for _ in range(50):
        changed, there = Wordings(), dict[str, TemplateState]()
        for _ in range(chosen.randrange(20)):
            one = state(
                chosen.choice("abc"), chosen.choice(said), chosen.choice(["APPROVED", "REJECTED"]),
                chosen.choice(["UTILITY", "MARKETING"]),
            )  # fmt: skip
            if chosen.random() < 0.3:
                changed.remove(one.key)
                there.pop(one.key, None)
            else:
                changed.put(one.key, one)
                there[one.key] = one
        fresh = known(*there.values())
        assert changed == fresh and (changed == Wordings()) is all(each.wording is None for each in there.values())
        for text in (FILLED, ALERT, f"{FILLED} {ALERT}", f"{POLITE} {POLITE}"):
            assert changed.repeats(text, "utility") == fresh.repeats(text, "utility")


WORD = st.text("bcdfghjklm", min_size=2, max_size=8)
OTHER_WORD = st.text("nopqrstvwx", min_size=2, max_size=8)


@pytest.mark.req("CMP-11")
@given(st.lists(WORD, min_size=8, max_size=80, unique=True), st.data())
def test_each_piece_of_a_wording_is_refused_however_it_is_split(words: list[str], data: st.DataObject) -> None:
    index = known(state("offer", " ".join(words), "REJECTED"))
    at = 0
    while at < len(words):
        left = len(words) - at
        length = left if left < 16 else data.draw(st.integers(8, left - 8))
        piece = " ".join(words[at : at + length])
        found = index.repeats(piece, "utility")
        assert found is not None and found.position == 1 and found.share == 1.0
        at += length


@given(st.lists(WORD, max_size=40), st.lists(st.one_of(OTHER_WORD, st.text(max_size=9)), max_size=40))
def test_a_text_without_four_words_in_a_row_of_a_template_is_never_refused(one: list[str], other: list[str]) -> None:
    index = known(state("offer", " ".join(one), "REJECTED"), MARKETING)
    assert index.repeats(" ".join(other), "utility") is None


@given(st.text())
def test_any_text_can_be_read_and_begins_somewhere(text: str) -> None:
    found = known(MARKETING).repeats(f"{text} {FILLED}", "utility")
    assert found is not None and f"{text} {FILLED}"[found.position - 1 :].startswith("our festival")


def test_words_as_long_as_texts_are_read_and_not_remembered() -> None:
    index, long = known(MARKETING), "\u65e5\u672c\u8a9e" * 300  # Japanese has no spaces between words
    assert index.repeats(f"{long} {FILLED}", "utility") is not None
    before = _words_in.cache_info().misses
    for n in range(10):
        found = index.repeats(f"{long}{n} {FILLED}", "utility")
        assert found is not None and found.position == len(long) + 18
    assert _words_in.cache_info().misses == before


def test_thousands_of_templates_with_one_wording_are_judged_in_a_moment() -> None:
    each = [state(f"t{n}", OFFER, category="MARKETING") for n in range(3_000)]
    index = known(*each)
    began = time.process_time()
    for one in each[:10]:
        index.put(one.key, one)  # each of them has all looked at again
        assert index.repeats(FILLED, "utility") is not None
    assert time.process_time() - began < 0.5, "a few ms each; in the square of how many there are it is 2 s"


@pytest.mark.parametrize(
    "wording", ["", "{{1}}", "{{", "}}", "{{1}} {{2", "a {{1}} b }} c", "{{1}}{{2}}" * 100, "x" * 1024]
)
def test_any_wording_can_be_put_and_removed(wording: str) -> None:
    index, one = known(MARKETING), state("odd", wording, "REJECTED")
    index.put(one.key, one)
    assert (found := index.repeats(FILLED, "utility")) is not None and found.template == "offer:en"
    index.remove(one.key)
    assert index.repeats(FILLED, "utility") == found


def test_a_brace_that_nothing_closes_hides_no_wording() -> None:
    assert repeated(FILLED, state("offer", "{{" + FILLED, "REJECTED")) is not None


# --- in an intent ---------------------------------------------------------------------------------------------------


def template(**more: Any) -> Template:
    return Template.model_validate(TEMPLATE | more)


def within(*contents: Content | None, category: Category = "utility") -> tuple[str, str, int] | None:
    parts = zip(("content", "fallback_template"), contents, strict=False)
    found = repeat_in(parts, known(MARKETING), category)
    return None if found is None else (found.part, found.field, found.position)


@pytest.mark.req("CMP-11")
def test_every_text_of_an_intent_is_looked_at_and_named() -> None:
    assert within(Text(body=FILLED)) == ("content", "text", 16)
    assert within(Media(type="image", id="1", caption=FILLED)) == ("content", "caption", 16)
    assert within(Media(type="document", id="1", filename="a.pdf", caption="x")) is None
    assert within(template(body=["Asha", f"ok {FILLED}"])) == ("content", "body 2", 19)
    assert within(template(body=[], named={"a": "Asha", "b": FILLED})) == ("content", "named 2", 16)
    assert within(template(body=["Asha"]), None) is None
    assert within(Text(body="Namaste"), template(body=[FILLED])) == ("fallback_template", "body 1", 16)


def test_a_wording_put_into_several_values_is_known() -> None:
    halves = FILLED[15:].split(", so ")
    assert within(template(body=["Good news", *halves])) == ("content", "body 2", 1)
    words = FILLED.split()
    assert within(template(body=words[3:])) == ("content", "body 1", 1)
    last = state("last", "a gold plan for whom we have written to every year", "REJECTED")
    found = repeat_in([("content", template(body=["see: a", last.wording[2:]]))], known(last), "utility")
    assert found is not None and (found.field, found.position) == ("body 1", 6)


def test_each_language_of_a_template_is_looked_at_by_itself() -> None:
    chat = "I am writing to you since we had no time to speak on the phone today about your papers"
    both = template(
        body=[chat], variants=[{"language": "hi", "body": [f"Asha, {FILLED[15 : FILLED.index('so join')]}"]}]
    )
    assert within(both) == ("content", "body 1 in hi", 7)
    assert within(template(body=[chat], variants=[{"language": "hi", "body": [chat]}])) is None


def test_the_sentence_names_the_template_and_why() -> None:
    refused = refusal_of(
        Repeat(template="gold:en", status="REJECTED", category="UTILITY", position=3, share=0.9), "utility"
    )
    assert refused.text == (
        "The text repeats the template gold in en at character 3, which Meta refused: it is REJECTED. Say it "
        "otherwise, or have a template with it approved. What every message may say belongs in "
        "compliance.common_texts."
    )
    assert (refused.code, refused.rule) == ("content_repeats_template", "content")
    assert refused.details == {
        "part": "content", "field": "text", "positions": "3", "template": "gold:en", "status": "REJECTED",
        "share": "0.9", "category": "UTILITY",
    }  # fmt: skip
    dear = Repeat(template="gold:hi", status="PAUSED", category="MARKETING", field="body 1", position=1, share=1)
    assert refusal_of(dear, "service").text == (
        "The template's value body 1 repeats the template gold in hi at character 1, which is MARKETING at Meta, while "
        "the message is service. Send it in the template's category. What every message may say belongs in "
        "compliance.common_texts."
    )
    unknown = refusal_of(Repeat(template="gold:en", status="DISABLED", field="caption", position=1, share=1), "utility")
    assert unknown.text.startswith("The caption repeats") and "category" not in unknown.details


# --- where it is decided --------------------------------------------------------------------------------------------

SMUGGLED = {"type": "text", "body": FILLED}
AROUND = Surroundings({ALONE: NOW - timedelta(hours=1)}, {}, wordings=known(MARKETING))


def code(outcome: Planned | NoRoute | None) -> str:
    assert outcome is not None
    return outcome.reason.code if isinstance(outcome, NoRoute) else outcome.plan[0].form


@pytest.mark.req("CMP-11", "B11")
def test_the_router_refuses_it_in_any_form_and_tells_it_again_without_the_text() -> None:
    for more in ({}, {"fallback_template": TEMPLATE}, {"send_window": "unknown"}):
        outcome = plan(cleared(ALONE, content=SMUGGLED, **more), policy(), AROUND, NOW)
        assert code(outcome) == "content_repeats_template"
        kept = decision_of(outcome, policy().version, NOW)
        assert kept is not None and "festival" not in kept.model_dump_json()
        again = decided_again(Decision.model_validate_json(kept.model_dump_json(exclude_none=True)), policy())
        assert again.same and isinstance(outcome, NoRoute) and again.reason == outcome.reason
        assert again.reason.policy_version == policy().version and again.reason.details["positions"] == "16"
    assert code(plan(cleared(ALONE, content=SMUGGLED, category="marketing"), policy(), AROUND, NOW)) == "session"
    assert code(plan(cleared(ALONE, content=TEXT), policy(), AROUND, NOW)) == "session"
    assert code(plan(cleared("elsewhere", content=SMUGGLED), policy(), AROUND, NOW)) == "unknown_home"
    nothing_known = Surroundings(AROUND.last_inbound_at, {})
    assert code(plan(cleared(ALONE, content=SMUGGLED), policy(), nothing_known, NOW)) == "session"


def test_another_policy_would_have_refused_it_too() -> None:
    then, other = policy(), policy(routing={"quiet_hours": {"utility": "none"}})
    comparison = Comparison(other, {then.version: then}.get)
    kept = decision_of(plan(cleared(ALONE, content=SMUGGLED), then, AROUND, NOW), then.version, NOW)
    assert kept is not None and then.version != other.version
    comparison.add("m-00000001", kept)
    assert (comparison.same, comparison.kinds) == (1, {})


@pytest.mark.req("ING-17", "B15")
@pytest.mark.parametrize(
    "more",
    [
        {"content": SMUGGLED},
        {"content": TEXT},
        {"content": TEMPLATE | {"body": [FILLED]}},
        {"content": SMUGGLED, "category": "marketing"},
        {"content": TEXT, "fallback_template": TEMPLATE | {"body": [FILLED]}},
    ],
)
def test_a_preview_says_what_the_router_says(more: dict[str, Any]) -> None:
    wanted = {"sender": ALONE} | more
    previewed = resolve(intent(**wanted), PERSON, None, AROUND, policy(), NOW)
    sent = plan(cleared(ALONE, **wanted), policy(), AROUND, NOW)
    assert (previewed.code or previewed.outcome) == code(sent)
    assert previewed.reason == (sent.reason if isinstance(sent, NoRoute) else None)


def test_the_confirmation_of_a_command_goes_whatever_templates_say() -> None:
    message = cleared(ALONE, content=SMUGGLED).model_copy(update={"answers": NOW})
    assert code(plan(message, policy(), AROUND, NOW)) == "session"


def test_a_fallback_content_that_repeats_one_is_left_out_and_made_again() -> None:
    message = cleared(ALONE, content=TEXT, fallback_content=SMUGGLED, fallback_if_undeliverable=True)
    first, other = plan(message, policy(), AROUND, NOW), fallback.decide_fallback(message, policy(), AROUND, NOW)
    assert (code(first), code(other)) == ("session", "content_repeats_template")
    kept = fallback.kept_with(decision_of(first, policy().version, NOW), other)
    assert kept is not None and decided_again(kept, policy()).same
    turned = cleared(
        ALONE, content=TEMPLATE | {"body": [FILLED]}, fallback_content=TEXT, fallback_if_undeliverable=True
    )
    assert code(fallback.decide_fallback(turned, policy(), AROUND, NOW)) == "session"


CLOSING = "Please feel free to reach out to us if you have any questions."


def test_what_every_message_may_say_is_no_repeat_as_long_as_the_policy_says_so() -> None:
    index = known(state("offer", f"{OFFER} {CLOSING}", category="MARKETING"))
    assert index.repeats(CLOSING, "service") is not None
    common = (CLOSING, "Mutual fund investments are subject to market risks.")
    assert index.repeats(CLOSING.upper(), "service", common) is None
    assert index.repeats(f"{FILLED} {CLOSING}", "service", common) is not None, "the rest of it is told apart"
    assert index.repeats(CLOSING, "service", (CLOSING, "Another text of four words.")) is None
    assert index.repeats(CLOSING, "service", common[1:]) is not None
    assert index.repeats(CLOSING, "service") is not None
    assert index == known(state("offer", f"{OFFER} {CLOSING}", category="MARKETING")), "nothing of it is left"
