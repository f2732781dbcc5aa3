"""What a person is told who wrote a command: one short text, in their language, that names the way back (CMP-5).

Each text must be none itself: a phone that answers by repeating it must not opt anybody in or out.
"""

from __future__ import annotations

from typing import Literal

from harkara.policy.clearance import Word
from harkara.policy.commands import TONGUES, Said
from harkara.policy.optout import Tongue

Answer = Literal["stopped", "still_stopped", "started", "paused", "paused_for", "resumed", "help"]

TEXTS: dict[Tongue, dict[Answer, str]] = {
    "en": {
        "stopped": "You are unsubscribed and will get no more messages from us. To subscribe again, reply START.",
        "still_stopped": "You are unsubscribed and get no messages from us. To subscribe again, reply START.",
        "started": "You are subscribed to our messages. To unsubscribe, reply STOP; for a break, reply PAUSE.",
        "paused": "Messages are paused until you reply RESUME. To unsubscribe, reply STOP.",
        "paused_for": "Messages are paused for {days}. To go on earlier, reply RESUME; to unsubscribe, reply STOP.",
        "resumed": "Messages go on. For a break, reply PAUSE; to unsubscribe, reply STOP.",
        "help": "Reply STOP to unsubscribe, START to subscribe, PAUSE (or PAUSE 7 days) for a break, RESUME to end it.",
    },
    "pt": {
        "stopped": "Sua inscrição foi cancelada: você não receberá mais mensagens. Para voltar, responda INICIAR.",
        "still_stopped": "Sua inscrição está cancelada: você não recebe mensagens. Para voltar, responda INICIAR.",
        "started": "Você está inscrito em nossas mensagens. Para cancelar, responda PARAR; para uma pausa, PAUSAR.",
        "paused": "As mensagens estão em pausa até você responder RETOMAR. Para cancelar, responda PARAR.",
        "paused_for": "Mensagens em pausa por {days}. Para voltar antes, responda RETOMAR; para cancelar, PARAR.",
        "resumed": "As mensagens continuam. Para uma pausa, responda PAUSAR; para cancelar, responda PARAR.",
        "help": "Responda PARAR para cancelar, INICIAR para se inscrever, PAUSAR (ou PAUSAR 7 dias) para uma pausa, "
        "RETOMAR para continuar.",
    },
    "hi": {
        "stopped": "आपकी सदस्यता समाप्त कर दी गई है; अब हमारी ओर से कोई संदेश नहीं आएगा। फिर से पाने के लिए START लिखें।",
        "still_stopped": "आपकी सदस्यता समाप्त है; हमारी ओर से कोई संदेश नहीं आता। फिर से पाने के लिए START लिखें।",
        "started": "आप हमारे संदेश पाएँगे। सदस्यता समाप्त करने के लिए STOP, कुछ दिन के विराम के लिए PAUSE लिखें।",
        "paused": "संदेश रोक दिए गए हैं। फिर से पाने के लिए RESUME, सदस्यता समाप्त करने के लिए STOP लिखें।",
        "paused_for": "संदेश {days} के लिए रोक दिए गए हैं। पहले पाने के लिए RESUME, सदस्यता समाप्त करने के लिए STOP लिखें।",
        "resumed": "संदेश फिर से आएँगे। विराम के लिए PAUSE, सदस्यता समाप्त करने के लिए STOP लिखें।",
        "help": "STOP: सदस्यता समाप्त। START: सदस्यता शुरू। PAUSE (या PAUSE 7 days): विराम। RESUME: विराम समाप्त।",
    },
    "mr": {
        "stopped": "तुमची सदस्यता रद्द झाली आहे; आता आमच्याकडून कोणताही संदेश येणार नाही. पुन्हा मिळवण्यासाठी START लिहा.",
        "still_stopped": "तुमची सदस्यता रद्द आहे; आमच्याकडून कोणताही संदेश येत नाही. पुन्हा मिळवण्यासाठी START लिहा.",
        "started": "तुम्हाला आमचे संदेश मिळतील. सदस्यता रद्द करण्यासाठी STOP, काही दिवसांच्या विरामासाठी PAUSE लिहा.",
        "paused": "संदेश थांबवले आहेत. पुन्हा मिळवण्यासाठी RESUME, सदस्यता रद्द करण्यासाठी STOP लिहा.",
        "paused_for": "संदेश {days} थांबवले आहेत. आधी मिळवण्यासाठी RESUME, सदस्यता रद्द करण्यासाठी STOP लिहा.",
        "resumed": "संदेश पुन्हा येतील. विरामासाठी PAUSE, सदस्यता रद्द करण्यासाठी STOP लिहा.",
        "help": "STOP: सदस्यता रद्द. START: सदस्यता सुरू. PAUSE (किंवा PAUSE 7 days): विराम. RESUME: विराम समाप्त.",
    },
}
ONE_DAY: dict[Tongue, str] = {"en": "1 day", "pt": "1 dia", "hi": "1 दिन", "mr": "1 दिवस"}
MANY_DAYS: dict[Tongue, str] = {"en": "{n} days", "pt": "{n} dias", "hi": "{n} दिन", "mr": "{n} दिवस"}
DEFAULT_TONGUE: Tongue = "en"


def confirmation(said: Said, language: str | None, standing: Word | None) -> str:
    """The text. `language` is the one on record, which a command in English does not overrule; `standing` what the
    person's word was: who has opted out is not told that a pause or its end changed that."""
    tongue = said.tongue or spoken(language)
    answer = _answer(said, opted_out=standing is not None and standing.standing in ("opted_out", "erased"))
    return TEXTS[tongue][answer].format(days=_for_days(said.days, tongue))


def spoken(language: str | None) -> Tongue:
    """The language of ours that fits a language code such as pt_BR; English where none does."""
    code = (language or "").partition("_")[0]
    return next((tongue for tongue in TONGUES if tongue == code), DEFAULT_TONGUE)


def _answer(said: Said, *, opted_out: bool) -> Answer:
    match said.command:
        case "stop":
            return "stopped"
        case "start":
            return "started"
        case "help":
            return "help"
        case "pause" | "resume" if opted_out:
            return "still_stopped"
        case "pause":
            return "paused" if said.days is None else "paused_for"
        case _:
            return "resumed"


def _for_days(days: int | None, tongue: Tongue) -> str:
    return ONE_DAY[tongue] if days == 1 else MANY_DAYS[tongue].format(n=days)
