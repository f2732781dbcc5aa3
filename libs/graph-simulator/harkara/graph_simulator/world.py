"""The world that the simulator plays: accounts, numbers, tokens and templates, from one YAML file (see README.md)."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]{5,20}$")]
HeaderFormat = Literal["TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION"]
ButtonType = Literal["URL", "QUICK_REPLY", "COPY_CODE", "PHONE_NUMBER"]
Availability = Literal["AVAILABLE", "LIMITED", "BLOCKED"]
Quality = Literal["GREEN", "YELLOW", "RED", "UNKNOWN"]
Category = Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
TemplateStatus = Literal[
    "APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED", "IN_APPEAL", "PENDING_DELETION", "LIMIT_EXCEEDED",
    "ARCHIVED",
]  # fmt: skip
NameStatus = Literal["APPROVED", "AVAILABLE_WITHOUT_REVIEW", "DECLINED", "EXPIRED", "PENDING_REVIEW", "NONE"]
Tier = Literal["TIER_50", "TIER_250", "TIER_2K", "TIER_10K", "TIER_100K", "TIER_UNLIMITED"]
TIER_PEOPLE: dict[str, int] = {
    "TIER_50": 50, "TIER_250": 250, "TIER_2K": 2_000, "TIER_10K": 10_000, "TIER_100K": 100_000,
}  # fmt: skip
"""Unique people outside a service window in 24 h (Meta, messaging limits since October 2025); other tiers: no limit."""

COEXISTENCE_PER_SECOND = 20

_VARIABLE = re.compile(r"\{\{\s*([a-z0-9_]+)\s*\}\}")


class Part(BaseModel):
    """A misspelled key in the file is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid")


class TemplateButton(Part):
    """`variable`: the button needs a value at send (a URL ending in {{1}}, or a copy code)."""

    type: ButtonType
    text: str = "Open"
    variable: bool = False


class TemplateSpec(Part):
    """A template in one language. Its parameters are the variables of `body` and of a text `header`.

    `components` are Meta's, as they were submitted; without them they are made of the plain keys. Times are in seconds
    since 1970. `pauses`: how often it was paused for its quality; `edits`: when it was edited once approved.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: str
    category: Category = "UTILITY"
    status: TemplateStatus = "APPROVED"
    body: str
    header_format: HeaderFormat | None = None
    header: str = ""
    footer: str = ""
    buttons: tuple[TemplateButton, ...] = ()
    id: str = ""
    components: tuple[dict[str, Any], ...] = ()
    quality: Quality = "UNKNOWN"
    quality_at: int = 0
    rejected_reason: str = "NONE"
    previous_category: Category | None = None
    correct_category: Category | None = None
    ttl_seconds: int | None = None
    pauses: int = 0
    paused_in_pacing: bool = False
    edits: tuple[float, ...] = ()

    @property
    def body_variables(self) -> tuple[str, ...]:
        """Names in order of first appearance: ("1", "2") or ("first_name",)."""
        return tuple(dict.fromkeys(_VARIABLE.findall(self.body)))

    @property
    def header_variables(self) -> tuple[str, ...]:
        """At most one in a text header, none in others."""
        return tuple(dict.fromkeys(_VARIABLE.findall(self.header))) if self.header_format == "TEXT" else ()

    @property
    def named(self) -> bool:
        """Whether every value needs `parameter_name`."""
        return any(not name.isdigit() for name in self.body_variables + self.header_variables)


class NumberSpec(Part):
    """A business phone number; what the control endpoint may change while running is assigned here."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    phone_number_id: Digits
    display_phone_number: str
    verified_name: str = "Simulated Business"
    token: str = ""
    throughput_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = 80
    quality: Quality = "GREEN"
    health: Availability = "AVAILABLE"
    status: str = "CONNECTED"
    messaging_limit: Tier = "TIER_UNLIMITED"
    name_status: NameStatus = "APPROVED"
    pin: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")] = "123456"
    coexistence: bool = False
    token_valid: bool = True
    refuse_code: int | None = None
    fate: str | None = None

    @property
    def digits(self) -> str:
        """The display number as webhooks show it."""
        return re.sub(r"\D", "", self.display_phone_number)

    @property
    def most_per_second(self) -> int:
        """Messages a second; a number that is also on the business app has 20 whatever else (Meta)."""
        return (
            min(self.throughput_per_second, COEXISTENCE_PER_SECOND) if self.coexistence else self.throughput_per_second
        )


class WabaSpec(Part):
    """An account. `token` is a system user's: it holds for every number of the account and for its management calls.

    `verified`: its portfolio passed business verification. `blocked_countries`: calling codes it may not write to
    (130497). `marketing_disabled`: `disable_marketing_messages_on_cloud_api` (131063).
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    id: Digits
    name: str = "Simulated Account"
    portfolio: Digits = "998877665544332"
    token: str = ""
    status: Literal["ACTIVE", "RESTRICTED", "DISABLED"] = "ACTIVE"
    currency: str = "INR"
    verified: bool = True
    payment_method: bool = True
    marketing_disabled: bool = False
    blocked_countries: tuple[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}$")], ...] = ()
    numbers: tuple[NumberSpec, ...] = ()
    templates: tuple[TemplateSpec, ...] = ()

    @model_validator(mode="after")
    def _give_template_ids(self) -> WabaSpec:
        for position, template in enumerate(self.templates, start=1):
            template.id = template.id or f"{int(self.id) % 10**9}{position:05d}"
        return self


class World(Part):
    """Everything that the simulator knows. Ids, tokens of different accounts, and template languages are unique."""

    app_id: Digits = "776655443322110"
    wabas: tuple[WabaSpec, ...]

    @model_validator(mode="after")
    def _unique(self) -> World:
        ids = [waba.id for waba in self.wabas] + [n.phone_number_id for w in self.wabas for n in w.numbers]
        if len(set(ids)) != len(ids):
            raise ValueError("an id is used twice")
        for waba in self.wabas:
            keys = [(template.name, template.language) for template in waba.templates]
            if len(set(keys)) != len(keys):
                raise ValueError(f"account {waba.id} has a template twice in one language")
            for number in waba.numbers:
                if not (number.token or waba.token):
                    raise ValueError(f"number {number.phone_number_id} has no token, nor has its account")
        return self


def load_world(path: Path | None) -> World:
    """The world of a YAML file; without a path the example that ships with the package. Raises ValueError, OSError."""
    if path is None:
        text = resources.files("harkara.graph_simulator").joinpath("world.example.yaml").read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    return World.model_validate(yaml.safe_load(text))
