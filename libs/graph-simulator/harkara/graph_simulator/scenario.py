"""Fates: what becomes of one message. Chosen by the recipient's last four digits, by a number's setting, or by chance.

A fate is a value; one table serves all three ways, so whatever a suffix can do, a probability can do too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Milliseconds = Annotated[float, Field(ge=0, le=86_400_000)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Fault(StrEnum):
    """What happens to the HTTP answer. The first group after the message was accepted, the second instead of that."""

    NONE = "none"
    STATUS_FIRST = "status_first"
    RESET_AFTER = "reset_after"
    HTML_502_AFTER = "html_502_after"
    CUT_AFTER = "cut_after"
    EMPTY_AFTER = "empty_after"
    HANG_AFTER = "hang_after"
    ERROR_AFTER = "error_after"
    RESET_BEFORE = "reset_before"
    HTML_503_BEFORE = "html_503_before"
    HTML_429_BEFORE = "html_429_before"


REFUSING = frozenset({Fault.RESET_BEFORE, Fault.HTML_503_BEFORE, Fault.HTML_429_BEFORE})
"""Faults of calls that were never accepted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One status webhook: `at` names the scenario's delay that it waits for (sent, delivered, read, hold, late)."""

    status: str
    at: str
    error_code: int | None = None


SENT, DELIVERED, READ = Step("sent", "sent"), Step("delivered", "delivered"), Step("read", "read")


@dataclass(frozen=True, slots=True)
class Fate:
    """`refuse_code` refuses synchronously: always, or only the first call to that recipient (`refuse_once`).

    `reports`: the person reports the message as spam, which counts against the template and the number.
    """

    name: str
    steps: tuple[Step, ...] = (SENT, DELIVERED, READ)
    fault: Fault = Fault.NONE
    refuse_code: int | None = None
    refuse_status: int | None = None
    refuse_subcode: int | None = None
    retry_after_seconds: int | None = None
    refuse_once: bool = False
    free_form_only: bool = False
    copies: int = 1
    shuffled: bool = False
    milliseconds: bool = False
    other_wa_id: bool = False
    echo: bool = True
    by_user_id: bool = False
    message_status: str | None = None
    reports: bool = False


def _failed(name: str, code: int, *before: Step) -> Fate:
    return Fate(name, (*before, Step("failed", "delivered" if before else "sent", code)))


READ_FATE = Fate("read")
DELIVERED_FATE = Fate("delivered_only", (SENT, DELIVERED))

SUFFIXES: dict[str, Fate] = {
    "0001": _failed("failed_131026", 131026),
    "0002": _failed("failed_131049", 131049),
    "0003": Fate("window_131047", refuse_code=131047, free_form_only=True),
    "0004": Fate("response_lost", fault=Fault.RESET_AFTER),
    "0005": Fate("html_502", fault=Fault.HTML_502_AFTER),
    "0006": Fate("status_first", fault=Fault.STATUS_FIRST),
    "0007": Fate("duplicates_shuffled", copies=3, shuffled=True),
    "0008": Fate("transient_131016_once", refuse_code=131016, refuse_once=True),
    "0009": Fate("stays_sent", (SENT,)),
    "0010": Fate("throughput_130429_once", refuse_code=130429, refuse_once=True),
    "0011": Fate("reset_before", fault=Fault.RESET_BEFORE),
    "0012": DELIVERED_FATE,
    "0013": Fate("read_without_delivered", (SENT, READ)),
    "0014": Fate("no_sent", (DELIVERED, READ)),
    "0015": _failed("failed_131047", 131047),
    "0016": _failed("failed_131050", 131050),
    "0017": _failed("sent_then_failed_131049", 131049, SENT),
    "0018": Fate("delivered_and_failed", (SENT, DELIVERED, Step("failed", "delivered", 131026))),
    "0019": Fate("cut_answer", fault=Fault.CUT_AFTER),
    "0020": Fate("empty_answer", fault=Fault.EMPTY_AFTER),
    "0021": Fate("hang_after", fault=Fault.HANG_AFTER),
    "0022": Fate("pair_131056_once", refuse_code=131056, refuse_once=True),
    "0023": Fate("throughput_429_once", refuse_code=130429, refuse_status=429, retry_after_seconds=1, refuse_once=True),
    "0024": Fate("unknown_1", refuse_code=1, refuse_status=500),
    "0025": Fate("service_2_accepted", fault=Fault.ERROR_AFTER, refuse_code=2),
    "0026": Fate("wrong_131000", refuse_code=131000),
    "0027": Fate("html_503", fault=Fault.HTML_503_BEFORE),
    "0028": Fate("template_paused_132015", refuse_code=132015),
    "0029": _failed("failed_131053", 131053),
    "0030": Fate(
        "held_released",
        (Step("sent", "hold"), Step("delivered", "hold")),
        message_status="held_for_quality_assessment",
    ),
    "0031": Fate("held_dropped", (Step("failed", "hold", 132015),), message_status="held_for_quality_assessment"),
    "0032": Fate("late", (Step("sent", "late"), Step("delivered", "late"), Step("read", "late"))),
    "0033": Fate("milliseconds", milliseconds=True),
    "0034": Fate("other_wa_id", other_wa_id=True),
    "0035": Fate("unknown_words", (SENT, Step("warning", "sent"), Step("failed", "delivered", 999_999))),
    "0036": Fate("unlisted_code", refuse_code=999_999),
    "0037": Fate("invalid_100", refuse_code=100),
    "0038": Fate("played", (SENT, DELIVERED, READ, Step("played", "read"))),
    "0039": Fate("no_echo", echo=False),
    "0040": Fate("by_user_id", by_user_id=True),
    "0041": Fate("token_190", refuse_code=190, refuse_subcode=463),
    "0042": Fate("locked_131031", refuse_code=131031),
    "0043": Fate("waba_rate_80007", refuse_code=80007),
    "0044": Fate("spam_131048", refuse_code=131048),
    "0045": Fate("permission_10", refuse_code=10),
    "0046": _failed("failed_130472", 130472),
    "0047": Fate("maintenance_131057_once", refuse_code=131057, refuse_once=True),
    "0070": Fate("service_2", refuse_code=2),
    "0071": Fate("unavailable_131016", refuse_code=131016),
    "0072": Fate("reports_spam", reports=True),
    "0073": _failed("failed_131042", 131042),
    "0074": _failed("failed_131000", 131000),
    "0075": _failed("failed_131048", 131048),
    "0076": Fate("country_130497", refuse_code=130497),
    "0077": Fate("payment_131042", refuse_code=131042),
    "0078": Fate("auth_0", refuse_code=0),
    "0079": Fate("policy_368", refuse_code=368),
    "0080": Fate("template_disabled_132016", refuse_code=132016),
    "0081": Fate("template_missing_132001", refuse_code=132001),
    "0082": Fate("throughput_429_html", fault=Fault.HTML_429_BEFORE),
}
"""The last four digits of `to`, and what becomes of messages to it. README.md has this table in words."""

FATES: dict[str, Fate] = {fate.name: fate for fate in (READ_FATE, *SUFFIXES.values())}


@dataclass(frozen=True, slots=True)
class WebhookFaults:
    """Probabilities: `missing` of one update, the rest of a whole POST. `late_seconds`: how late a late one is."""

    seed: int = 1
    missing: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    wrong_signature: float = 0.0
    unknown_field: float = 0.0
    shuffle: bool = False
    late_seconds: float = 20.0

    @property
    def none(self) -> bool:
        """Whether every POST goes out as it should."""
        return not (
            self.missing or self.duplicate or self.late or self.wrong_signature or self.unknown_field or self.shuffle
        )


class Scenario(BaseModel):
    """How the simulated world behaves; changeable while running by POST /_simulator/config.

    Delays of statuses count from the answer of the send; `read_ms` from `delivered_ms`. `fates`: probability by fate
    name; what remains is read with `read_probability`, else only delivered. `jitter`: each delay is
    longer by 0 to that share. `window`: what a free-form message outside the service window gets.

    `time_scale` divides Meta's hours and days (service window, messaging limit, pauses of templates, deletion, edits,
    retries of webhooks, life of media), never the delays in ms. `marketing_per_person`: templates of marketing in 24 h
    outside a window, then 131049; 0: no cap. `pacing`: marketing templates of unknown quality are held after
    `pacing_after` messages. `reports_to_yellow`, `_red`: spam reports that lower a template's (and, at twice as many,
    a number's) quality. `webhook_*`: see WebhookFaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 1
    magic_suffixes: bool = True
    latency_ms: Milliseconds = 0
    sent_ms: Milliseconds = 50
    delivered_ms: Milliseconds = 150
    read_ms: Milliseconds = 300
    hold_ms: Milliseconds = 2_000
    late_ms: Milliseconds = 20_000
    hang_ms: Milliseconds = 60_000
    status_lead_ms: Milliseconds = 50
    jitter: Probability = 0.2
    read_probability: Probability = 0.6
    fates: dict[str, Probability] = Field(default_factory=dict)
    enforce_throughput: bool = True
    enforce_pair_limit: bool = True
    window: Literal["off", "webhook", "sync"] = "webhook"
    check_media_ids: bool = True
    management_calls_per_hour: Annotated[int, Field(ge=1)] = 5_000  # Meta: an active account
    management_refuse_code: int | None = None
    time_scale: Annotated[float, Field(ge=1, le=1_000_000)] = 1
    review_ms: Milliseconds = 2_000
    upgrade_ms: Milliseconds = 2_000
    payload_version: Literal["v23.0", "v24.0"] = "v24.0"
    enforce_messaging_limit: bool = True
    messaging_limit_code: int = 131048  # which code Meta gives is not established
    rate_limit_status: Literal[400, 429] = 400
    retry_after_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    marketing_per_person: Annotated[int, Field(ge=0, le=1000)] = 0
    pacing: Literal["off", "release", "drop"] = "off"
    pacing_after: Annotated[int, Field(ge=0)] = 100
    reports_to_yellow: Annotated[int, Field(ge=1)] = 5
    reports_to_red: Annotated[int, Field(ge=1)] = 10
    free_service_messages: Annotated[int, Field(ge=0)] = 1_000  # delivered, per number and month (Meta, October 2026)
    webhook_missing: Probability = 0
    webhook_duplicate: Probability = 0
    webhook_late: Probability = 0
    webhook_wrong_signature: Probability = 0
    webhook_unknown_field: Probability = 0
    webhook_shuffle: bool = False

    @field_validator("fates")
    @classmethod
    def _known_fates(cls, fates: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(fates) - set(FATES))
        if unknown:
            raise ValueError(f"unknown fates: {', '.join(unknown)}")
        if sum(fates.values()) > 1:
            raise ValueError("the probabilities of all fates are more than 1")
        return fates

    @property
    def webhook_faults(self) -> WebhookFaults:
        """What may go wrong with webhooks."""
        return WebhookFaults(
            self.seed,
            self.webhook_missing,
            self.webhook_duplicate,
            self.webhook_late,
            self.webhook_wrong_signature,
            self.webhook_unknown_field,
            self.webhook_shuffle,
            self.late_ms / 1000,
        )


class FateChooser:
    """Chooses fates; the only state is the seeded generator and who was refused once already."""

    MAX_REFUSED_ONCE = 100_000  # recipients remembered; a longer run than that re-refuses the oldest

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._random = Random(scenario.seed)  # noqa: S311 - seeded on purpose: a run can be repeated
        self._refused_once: dict[tuple[str, str], None] = {}

    def choose(self, recipient: str, forced: str | None = None) -> Fate:
        """The fate of a message to these digits; `forced` is the number's own, by name."""
        if forced is not None:
            return FATES[forced]
        if self.scenario.magic_suffixes:
            fate = SUFFIXES.get(recipient[-4:])
            if fate is not None:
                return fate
        return self._by_chance()

    def _by_chance(self) -> Fate:
        draw = self._random.random()
        for name, probability in self.scenario.fates.items():
            if draw < probability:
                return FATES[name]
            draw -= probability
        return READ_FATE if self._random.random() < self.scenario.read_probability else DELIVERED_FATE

    def refuses(self, fate: Fate, recipient: str, *, free_form: bool) -> bool:
        """Whether this call is refused; a fate that refuses once remembers the recipient."""
        if fate.refuse_code is None or fate.fault is Fault.ERROR_AFTER or (fate.free_form_only and not free_form):
            return False
        if not fate.refuse_once:
            return True
        key = (fate.name, recipient)
        if key in self._refused_once:
            return False
        if len(self._refused_once) >= self.MAX_REFUSED_ONCE:
            del self._refused_once[next(iter(self._refused_once))]
        self._refused_once[key] = None
        return True

    def delay_seconds(self, base_ms: float) -> float:
        """A delay with the scenario's jitter, in seconds."""
        return base_ms * (1 + self.scenario.jitter * self._random.random()) / 1000

    def shuffle(self, steps: list[Step]) -> None:
        """Puts the steps in a seeded random order, never the natural one where there are two or more."""
        natural = list(steps)
        if any(step != steps[0] for step in steps):
            while steps == natural:
                self._random.shuffle(steps)
