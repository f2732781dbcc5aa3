"""The other form of governance.yaml: everything under `governance:`, with the words of the governance template.

It means the same policy. Each of its settings is translated, or refused by name where it would be unsafe or untrue;
what has its place elsewhere is told in a note. The sender numbers stand beside `governance:` (the template has none),
and so may pools and profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

ROOT = "governance"
PROFILE = "template"
"""The pacing profile made of `governance.dispatch`; numbers that name none of their own have it."""
PACE = {
    "per_second": 1, "per_minute": 20, "base_delay_ms": 2000, "max_jitter_ms": 1500, "gap_variation": 0.4,
    "randomised_order": True,
}  # fmt: skip
"""The template's figures, for what a file leaves out."""
PARTS = ("dispatch", "compliance", "routing", "telemetry", "sessions")
BESIDE = frozenset({"numbers", "pools", "profiles", ROOT})
"""Sections of the plain form that may stand beside `governance:`."""
Place = tuple[str | int, ...]


@dataclass
class Translation:
    """The plain form, where each of its parts stands in the file, what is wrong, and what to know."""

    content: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, Place] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, section: str, key: str, value: Any, origin: Place) -> None:
        """Set one setting of the plain form."""
        self.content.setdefault(section, {})[key] = value
        self.origins[(section, key)] = origin
        self.origins.setdefault((section,), origin[:2])

    def origin(self, place: Place) -> Place:
        """Where a place of the plain form stands in the file."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.origins:
                return (*self.origins[place[:end]], *place[end:])
        return place


def is_seed_form(document: dict[str, Any]) -> bool:
    """Whether the file is in this form."""
    return ROOT in document


def translate(document: dict[str, Any]) -> Translation:
    """The plain form of a document. Never raises: what cannot be translated is in `problems`."""
    found = Translation()
    for key, value in document.items():
        if key in BESIDE - {ROOT}:
            found.content[key] = value
        elif key != ROOT:
            found.problems.append(((key,), f"there is no such setting beside `{ROOT}:`"))
    tree = document[ROOT]
    if not isinstance(tree, dict):
        found.problems.append(((ROOT,), f"must hold {', '.join(PARTS)}"))
        return found
    for part, settings in tree.items():
        if part not in PARTS:
            found.problems.append(((ROOT, part), "there is no such setting"))
        elif not isinstance(settings, dict):
            found.problems.append(((ROOT, part), "must hold settings"))
        else:
            _TRANSLATE[part](found, settings)
    _strictest_consent(found)
    return found


def _strictest_consent(found: Translation) -> None:
    compliance = found.content.setdefault("compliance", {})
    if isinstance(compliance, dict) and "consent_mode" not in compliance:
        compliance["consent_mode"] = "explicit"
        found.notes.append("compliance.consent_mode is not given: `explicit`, the strictest, is taken")


def _dispatch(found: Translation, settings: dict[str, Any]) -> None:
    where: Place = (ROOT, "dispatch")
    settings = dict(settings)
    if settings.pop("timezone_enforcement", True) is not True:
        found.problems.append(
            ((*where, "timezone_enforcement"), "must be true: people are not written to in their night")
        )
    names = {"base_delay_ms": "base_delay_ms", "max_jitter_ms": "max_jitter_ms", "max_per_minute": "per_minute"}
    profile: dict[str, Any] = dict(PACE)
    for key in [key for key in settings if key in names]:
        profile[names[key]] = settings.pop(key)
        found.origins[("profiles", PROFILE, names[key])] = (*where, key)
    found.problems += [((*where, key), "there is no such setting") for key in settings]
    found.origins[("profiles", PROFILE)] = where
    profiles = found.content.setdefault("profiles", {})
    if isinstance(profiles, dict):
        found.content["profiles"] = {PROFILE: profile} | profiles
    if isinstance(numbers := found.content.get("numbers"), list):
        found.content["numbers"] = [{"profile": PROFILE} | n if isinstance(n, dict) else n for n in numbers]


def _compliance(found: Translation, settings: dict[str, Any]) -> None:
    where: Place = (ROOT, "compliance")
    for key, value in settings.items():
        if key == "audit_log_path":
            found.notes.append(
                "compliance.audit_log_path is not used: audit records are on the topic audit-log and in the console's "
                "database, where they outlive any one machine"
            )
        else:
            name = "opt_out_words" if key == "opt_out_keywords" else key
            found.put("compliance", name, value, (*where, key))


def _routing(found: Translation, settings: dict[str, Any]) -> None:
    where: Place = (ROOT, "routing")
    for key, value in settings.items():
        if key != "template_error_code":
            found.put("routing", key, value, (*where, key))
        elif value != 131047:
            found.problems.append(((*where, key), "must be 131047: so Meta says that the window is closed"))


def _telemetry(found: Translation, settings: dict[str, Any]) -> None:
    where: Place = (ROOT, "telemetry")
    for key, value in settings.items():
        name = "health_poll_seconds" if key == "poll_interval_seconds" else key
        found.put("telemetry", name, value, (*where, key))


def _sessions(found: Translation, settings: dict[str, Any]) -> None:
    where: Place = (ROOT, "sessions")
    for key, value in settings.items():
        if key == "isolation_mode":
            if value != "strict":
                found.problems.append(((*where, key), "must be strict: numbers never share a token or connections"))
        elif key == "ip_binding":
            found.problems += _bindings(found.content.get("numbers"), value, (*where, key))
        elif key == "vault_path":
            found.notes.append(
                "sessions.vault_path is not used: the Cloud API has no sessions to keep, and each number's token is "
                "where its token_env or token_file says"
            )
        else:
            found.problems.append(((*where, key), "there is no such setting"))


def _bindings(numbers: Any, value: Any, where: Place) -> Iterator[tuple[Place, str]]:
    if value not in ("dedicated", "shared"):
        yield where, "must be dedicated or shared"
    if value != "dedicated" or not isinstance(numbers, list):
        return
    for index, number in enumerate(numbers):
        if isinstance(number, dict) and not ({"local_address", "proxy"} & number.keys()):
            yield ("numbers", index), "needs its local_address or proxy, because ip_binding is dedicated"


_TRANSLATE: dict[str, Callable[[Translation, dict[str, Any]], None]] = {
    "dispatch": _dispatch,
    "compliance": _compliance,
    "routing": _routing,
    "telemetry": _telemetry,
    "sessions": _sessions,
}
