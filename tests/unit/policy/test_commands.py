"""STOP, START, PAUSE, RESUME and HELP: what is one, what only looks like one, and what the person is told."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.policy.clearance import Word
from harkara.policy.commands import Commands, Said
from harkara.policy.confirmations import MANY_DAYS, TEXTS, confirmation, spoken
from harkara.policy.optout import LONGEST_READ, OPT_IN_WORDS, OPT_OUT_WORDS, normalised

COMMANDS = Commands(["nako", "help me out"])


@pytest.mark.req("CMP-5")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("STOP", Said("stop")), ("Parar", Said("stop", "pt")), ("बंद करें", Said("stop", "hi")),
        ("थांबवा!", Said("stop", "mr")), ("थांब", Said("stop", "mr")), ("रुको", Said("stop", "hi")),
        ("बन्द", Said("stop", "hi")), ("बंद-करें", Said("stop", "hi")), ("parar, tudo", Said("stop", "pt")),
        ("स्टॉप", Said("stop")), ("stop-all", Said("stop")),
        ("nako", Said("stop")), ("please stop all of it", Said("stop")),
        ("START", Said("start")), ("Começar", Said("start", "pt")), ("comecar", Said("start", "pt")),
        ("शुरू करें", Said("start", "hi")), ("सुरू करा", Said("start", "mr")),
        ("PAUSE", Said("pause")), ("Pause.", Said("pause")), ("pausar", Said("pause", "pt")),
        ("विराम", Said("pause", "hi")), ("विराम घ्या", Said("pause", "mr")), ("तात्पुरते थांबवा", Said("pause", "mr")),
        ("PAUSE 7", Said("pause", None, 7)), ("pause 7 days", Said("pause", None, 7)),
        ("pause 1 day", Said("pause", None, 1)),
        ("Pause for 30 days!", Said("pause", None, 30)), ("pausar por 3 dias", Said("pause", "pt", 3)),
        ("विराम ७ दिन", Said("pause", "hi", 7)), ("विराम 7 दिनों के लिए", Said("pause", "hi", 7)),
        ("विराम घ्या १० दिवस", Said("pause", "mr", 10)), ("pause ３ days", Said("pause", None, 3)),
        ("pause 365", Said("pause", None, 365)), ("pause 366", Said("pause")), ("pause 9999 days", Said("pause")),
        ("RESUME", Said("resume")), ("retomar", Said("resume", "pt")), ("जारी रखें", Said("resume", "hi")),
        ("फिर शुरू करें", Said("resume", "hi")), ("पुन्हा सुरू करा", Said("resume", "mr")),
        ("HELP", Said("help")), ("Ajuda?", Said("help", "pt")), ("मदद", Said("help", "hi")),
        ("मदत", Said("help", "mr")),
        ("ѕtаrt", Said("start")), ("h\u200be\u200blp", Said("help")), ("ΗΕLΡ", Said("help")),
        ("ｐａｕｓｅ　７", Said("pause", None, 7)),
    ],
)  # fmt: skip
def test_is_heard(text: str, said: Said) -> None:
    assert COMMANDS.read(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\u200b", "please pause", "pause it", "pause 0", "pause -1", "pause 1.5", "pause 1e3", "pause 7 weeks",
        "pause 10000", "pause seven", "pause 7 7", "pause days", "pause for", "7 days", "pausedays", "pauses",
        "paused", "resume my order", "helpful", "can you help", "start over", "restart", "info please", "don't stop",
        "stop it", "non stop alleys", "I will cancel", "मदद चाहिए", "विराम चिह्न",
        "re-start", "st-art", "s t a r t", "h e l p", "pause, 7", "रुको तो सही",
    ],
)  # fmt: skip
def test_is_a_message_like_any_other(text: str) -> None:
    assert COMMANDS.read(text) is None


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize("text", ["don't stop all the music", "we stop all day", "STOP ALL", "stop all\u200b!"])
def test_the_phrase_opts_out_wherever_it_stands_on_its_own(text: str) -> None:
    """No grammar is read: one START puts it right, and the confirmation asks for it at once."""
    said = COMMANDS.read(text)
    assert said == Said("stop") and "START" in confirmation(Said("stop"), None, None)


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    "dressed",
    [
        "ЅТОР", "ѕtор", "ꓢꓔꓳꓑ", "ᏚᎢОᏢ", "s\u0336t\u0336o\u0336p\u0336", "stóp", "S\u00adT\u2060O\u200dP",
        "𝐬𝐭𝐨𝐩", "🆂🆃🅾🅿", "🅢🅣🅞🅟", "⒮⒯⒪⒫", "ꜱᴛᴏᴘ", "𝚂𝚃𝙾𝙿-𝙰𝙻𝙻", "🅂🅃🄾🄿", "ⓢⓣⓞⓟ",
        "UΝSUBSCRIBE", "саnсеl", "parаr", "ЅТОР АLL",
    ],
)  # fmt: skip
def test_an_opt_out_is_heard_in_letters_that_only_look_latin(dressed: str) -> None:
    said = COMMANDS.read(dressed)
    assert said is not None and said.command == "stop"


def test_of_several_texts_the_strictest_counts() -> None:
    assert COMMANDS.read("start", "STOP") == Said("stop")
    assert COMMANDS.read("resume", "pause 2") == Said("pause", None, 2)
    assert COMMANDS.read("help", "START") == Said("start")
    assert COMMANDS.read(None, "Hello", None) is None


def test_an_opt_out_word_of_the_policy_wins_over_a_command() -> None:
    assert Commands(["pause"]).read("pause") == Said("stop")
    assert Commands(["pause"]).read("pause 7") == Said("pause", None, 7)


LOOP = (
    "stop al",
    "s\u200b",
    "pause 7 ",
    "\u0300",
    "ﷺ",
    "İ",
    "Ꭰ",
    "ǅ",
    "\U0001f3fb",
    "क\u094d",
    "न\u094dद",
    "s-",
    "🆂",
    "stop all" * 3 + "x",
    " ",
)


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize("part", LOOP, ids=ascii)
def test_hostile_texts_take_time_in_proportion_and_not_more_than_a_message(part: str) -> None:
    """Twice the text takes about twice the time, up to what is read of it; beyond that no more at all."""

    def seconds(text: str) -> float:
        best = 9.9
        for _ in range(3):
            began = time.process_time()
            COMMANDS.read(text)
            best = min(best, time.process_time() - began)
        return best

    half = seconds((part * LONGEST_READ)[: LONGEST_READ // 2])
    whole = seconds((part * LONGEST_READ)[:LONGEST_READ])
    assert whole < 4 * half + 0.005, (half, whole)
    assert seconds(part * 1_000_000) < 4 * whole + 0.005
    assert whole < 0.25, "a text of Meta's greatest length, however it is made up"


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_reading_ends_for_any_text_and_normalising_is_done_once(text: str) -> None:
    COMMANDS.read(text)
    once = normalised(text)
    assert normalised(once) == once


@given(st.text(alphabet="ЅТОРѕtорAllᎪᏟꓢ\u0301\u0336 \u200bǰİßŉΐनमदबङण\u094d\u0902\u0901\u093c🆂⒮ᴛ-", max_size=40))
def test_normalising_is_done_once_also_among_look_alikes(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


@pytest.mark.req("CMP-5")
@pytest.mark.parametrize("tongue", sorted(TEXTS))
def test_no_confirmation_is_a_command_and_every_word_it_names_is_one(tongue: str) -> None:
    """A phone that repeats what it gets must not opt anybody in or out."""
    for answer, text in TEXTS[tongue].items():  # type: ignore[index]
        shown = text.format(days=MANY_DAYS[tongue].format(n=7))  # type: ignore[index]
        assert COMMANDS.read(shown) is None, (tongue, answer)
        named = [word.strip(".,;:()।") for word in shown.split()]
        named = [word for word in named if word.isascii() and word.isupper() and len(word) > 3]
        assert named and all(COMMANDS.read(word) is not None for word in named), (tongue, answer, named)
    assert set(TEXTS[tongue]) == set(TEXTS["en"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("said", "language", "standing", "expected"),
    [
        (Said("stop"), None, None, TEXTS["en"]["stopped"]),
        (Said("stop"), "hi", None, TEXTS["hi"]["stopped"]),
        (Said("stop", "mr"), "hi", None, TEXTS["mr"]["stopped"]),
        (Said("start"), "pt_BR", Word("opted_out"), TEXTS["pt"]["started"]),
        (Said("pause"), "fr", None, TEXTS["en"]["paused"]),
        (Said("pause", None, 1), None, None, TEXTS["en"]["paused_for"].format(days="1 day")),
        (Said("pause", "pt", 3), None, None, TEXTS["pt"]["paused_for"].format(days="3 dias")),
        (Said("pause", None, 3), None, Word("opted_out"), TEXTS["en"]["still_stopped"]),
        (Said("resume"), None, Word("opted_out"), TEXTS["en"]["still_stopped"]),
        (Said("resume"), None, Word("paused"), TEXTS["en"]["resumed"]),
        (Said("help"), "mr", Word("opted_out"), TEXTS["mr"]["help"]),
    ],
)
def test_the_person_is_told_in_their_language_what_holds_now(
    said: Said, language: str | None, standing: Word | None, expected: str
) -> None:
    assert confirmation(said, language, standing) == expected


def test_the_languages_have_words_of_their_own_and_texts() -> None:
    assert set(TEXTS) == set(OPT_OUT_WORDS) == set(OPT_IN_WORDS)
    assert [spoken(code) for code in ("hi", "hi_IN", "mr_IN", "pt_PT", "en_GB", "ta", None)] == [
        "hi", "hi", "mr", "pt", "en", "en", "en",
    ]  # fmt: skip
