"""The words that opt a person out, and those that look like them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.policy.optout import BUILT_IN_OPT_IN_WORDS, BUILT_IN_OPT_OUT_WORDS, Keywords, normalised, spaced

KEYWORDS = Keywords(["nako", "no more"])


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    "text",
    [
        "stop", "STOP", "Stop.", " stop!! ", "«Stop»", "cancel", "optout", "unsubscribe", "parar", "sair", "cancelar",
        "ｓｔｏｐ", "s\u200bt\u200bo\u200bp", "\ufeffstop\u2060", "stop\ufe0f", "stop \U0001f6d1\ufe0f", "ST\u00adOP",
        "\u202estop",
        "stop all", "STOP ALL", "Stop  all!", "stop\nall", "please stop all messages", "stop all.", "(stop all)",
        "stop\u00a0all", "stopall", "opt out", "Opt-Out", "nako", "NAKO!",
        "बंद करें", "बंद करा।", "रोकें", "थांबवा", "थांबा!", "सदस्यता  समाप्त करें",
        "बन्द", "बन्द करें", "थाम्बा", "रोकेँ", "बंद कर", "स्टॉप", "रुको", "रुकें!", "थांब.", "थांबव",
        "stop-all", "stop, all", "Stop. All!", "stop_all", "stop/all", "stop 🛑 all", "opt, out", "parar, tudo",
        "बंद-करें", "s t o p", "S.T.O.P.", "s-t-o-p", "C A N C E L",
        "🆂🆃🅾🅿", "🅂🅃🄾🄿", "🅢🅣🅞🅟", "ⓢⓣⓞⓟ", "⒮⒯⒪⒫", "🄢🄣🄞🄟", "🆂\ufe0f🆃\ufe0f🅾\ufe0f🅿\ufe0f",
        "🆂 🆃 🅾 🅿", "ꜱᴛᴏᴘ", "ｓｔｏｐ－ａｌｌ",
    ],
)  # fmt: skip
def test_opts_out(text: str) -> None:
    assert KEYWORDS.read(text) == "opt_out"


@pytest.mark.parametrize(
    "text",
    [
        None, "", "...", "please stop", "stop it", "stopped", "nonstop allure", "bus stop", "I will cancel my order",
        "stop allergies", "stop al", "unstoppable all", "don't stop", "नमस्ते", "बंद", "start the car",
        "please don't stop. All is well", "stop, all of you", "no, more", "no-more", "one-stop", "s t o p s", "t o p",
        "can cel", "cance-l", "🇸🇹🇴🇵", "रुको ज़रा", "रुकें, मैं आता हूँ", "थांब जरा", "दुकान बन्द है", "stop" + "-" * 70 + "all",
    ],
)  # fmt: skip
def test_does_not_opt_out(text: str | None) -> None:
    expected = "opt_out" if text == "बंद" else None  # "closed" on its own is how people say it
    assert KEYWORDS.read(text) == expected


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize("text", ["don't stop all the music", "nonstop, stop all allure", "we stop all day"])
def test_the_phrase_counts_wherever_it_stands_on_its_own(text: str) -> None:
    """Decided so: the rule reads no grammar; the person says START if it was a song."""
    assert KEYWORDS.read(text) == "opt_out"


@pytest.mark.parametrize("text", ["start", "START!", "optin", "शुरू करें", "सुरू करा"])
def test_opts_in(text: str) -> None:
    assert KEYWORDS.read(text) == "opt_in"


def test_words_of_the_policy_are_added_and_take_nothing_away() -> None:
    assert Keywords().read("nako") is None
    assert all(Keywords(["nako"]).read(word) == "opt_out" for word in BUILT_IN_OPT_OUT_WORDS)
    assert not {normalised(w) for w in BUILT_IN_OPT_OUT_WORDS} & {normalised(w) for w in BUILT_IN_OPT_IN_WORDS}


@pytest.mark.req("CMP-1")
@pytest.mark.parametrize(
    ("nasal", "consonants"), [("ङ", "कखगघ"), ("ञ", "चछजझ"), ("ण", "टठडढ"), ("न", "तथदध"), ("म", "पफबभ")]
)
def test_a_nasal_before_a_consonant_of_its_own_place_is_written_in_two_ways(nasal: str, consonants: str) -> None:
    for consonant in consonants:
        written, other = f"क{nasal}\u094d{consonant}ी", f"कं{consonant}ी"
        assert normalised(written) == normalised(other) == other
        assert Keywords([written]).read(other) == Keywords([other]).read(written) == "opt_out"
    assert normalised(f"क{nasal}\u094dयी") == f"क{nasal}\u094dयी", "before any other consonant it is itself"


@pytest.mark.parametrize(
    ("plain", "found"),
    [
        ("stop-all", "stop all"), ("s t o p", "stop"), ("s t op", "s t op"), ("बंद-करें", "बंद करें"), ("7 of 9", "7 of 9"),
        ("", ""), ("a" * 64, "a" * 64), ("a" * 65, ""),
    ],
)  # fmt: skip
def test_spaces_for_punctuation(plain: str, found: str) -> None:
    assert spaced(plain) == found


@given(
    word=st.sampled_from(sorted(BUILT_IN_OPT_OUT_WORDS)),
    form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
    before=st.text(alphabet=" .,!?\"'\u200b\u200e\ufeff\U0001f6d1\n", max_size=8),
    after=st.text(alphabet=" .,!?\"'\u200b\u200e\ufeff\U0001f6d1\n\u0964", max_size=8),
    upper=st.booleans(),
)
def test_a_word_is_heard_however_it_is_dressed(word: str, form: str, before: str, after: str, upper: bool) -> None:
    dressed = before + unicodedata.normalize(form, word.upper() if upper else word) + after  # type: ignore[arg-type]
    assert KEYWORDS.read(dressed) == "opt_out"


@given(st.text(max_size=200))
def test_normalising_is_done_once(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


def test_a_long_text_costs_no_more_than_a_message() -> None:
    assert KEYWORDS.read("stop al" * 2_000_000) is None
    assert len(normalised("a" * 10_000_000)) == 4096
