"""Whoever reads governance.yaml follows it: a change is taken up as a whole, or refused aloud, and never passed over.

Each service is built as it runs, but for Kafka; its file is changed, and its watch looks. Then whatever in it can
follow a policy has followed, and nothing that the service can reach is a part of the policy of before.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from confluent_kafka import Consumer

from harkara.policy.governance import Governance
from harkara.policy.sections import Section
from harkara.runtime.policy_watch import PolicyRefused, PolicyWatch
from harkara.runtime.service import Service

ROOT = Path(__file__).parents[2]
APPS = sorted(ROOT.glob("services/*/harkara/*/app.py"))
READERS = [path.parent.name for path in APPS if "settings.governance_file" in path.read_text(encoding="utf-8")]
EXAMPLE = (ROOT / "examples" / "governance.yaml").read_text(encoding="utf-8")
PORTFOLIO = 'portfolios: [{id: "300000000000001", limit: 2000}]\n'
OF_ITS_NUMBERS = ("console", "message_state")
"""They look at nothing else of the file than at what is refused where it changes."""
LIVE = {
    "consent_mode: opt_out": "consent_mode: explicit",
    "allowed_countries: [\"IN\"]": "allowed_countries: [\"US\"]",
    "opt_out_words: [\"no more\", \"nako\"]": "opt_out_words: [\"nako\"]",
    "window_margin_minutes: 10": "window_margin_minutes: 20",
    "max_attempts: 3": "max_attempts: 2",
    "number_pause_minutes: 30": "number_pause_minutes: 31",
    "sync_minutes: 15": "sync_minutes: 16",
    "limit: 2000": "limit: 3000",
    "health_poll_seconds: 30": "health_poll_seconds: 31",
    "per_second: 1000": "per_second: 999",
}  # fmt: skip
RESTARTS = {
    "name: advisors": ("name: advisers", set(READERS) - {"message_state"}),
    'phone_number_id: "100000000000001"': (
        'phone_number_id: "100000000000009"', set(READERS) - {"message_state"},
    ),
    "request_timeout_seconds: 10": ("request_timeout_seconds: 11", {"dispatcher"}),
    "status_minutes: 15": ("status_minutes: 16", {"message_state"}),
    'id: "300000000000001", limit': ('id: "300000000000002", limit', {"dispatcher", "quality_monitor"}),
}  # fmt: skip


Make = Callable[[str], Service]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "governance.yaml"
    second = EXAMPLE.replace('portfolio_id: "300000000000001"', 'portfolio_id: "300000000000002"', 1)
    path.write_text(second + PORTFOLIO, encoding="utf-8")
    return path


def built(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service as it is wired; before it runs it waits for nobody."""
    keys = file.parent / "keys.yaml"
    keys.write_text(f"keys:\n  - {{id: ops, name: ops, sha256: {hashlib.sha256(b'a key').hexdigest()}}}\n")
    for number in (1, 2, 3):
        monkeypatch.setenv(f"HARKARA_TOKEN_10000000000000{number}", "a token")
    settings = importlib.import_module(f"harkara.{name}.settings").Settings(
        governance_file=file, data_dir=file.parent, pepper="a pepper of the tests", app_secrets="a secret",
        verify_token="a token", api_keys_file=keys, postgres_dsn="postgresql://127.0.0.1:9/nothing",
    )  # fmt: skip
    service: Service = importlib.import_module(f"harkara.{name}.app").create(settings)
    return service


def watch_of(service: Service) -> PolicyWatch[Governance]:
    (found,) = [each for each in service.components if isinstance(each, PolicyWatch)]
    return found


def change(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text, f"{before} is not in the example any more"
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


def look(service: Service) -> tuple[Governance | None, set[int]]:
    """As the watch does every two seconds, but for the record of it, which needs Kafka; and who followed."""
    watch, followed = watch_of(service), set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "follow":
            followed.add(id(frame.f_locals["self"]))

    newest = watch._file.look()
    sys.setprofile(note)
    try:
        for follow in watch._apply:
            if newest is not None:
                follow(newest)
    finally:
        sys.setprofile(None)
    return newest, followed


def parts(policy: Governance) -> dict[int, Section]:
    """The policy and every section in it."""
    found: dict[int, Section] = {}
    waiting: list[Any] = [policy]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Section):
            found[id(each)] = each
            waiting += each.__dict__.values()
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, tuple):
            waiting += each
    return found


def reachable(begin: object) -> Iterator[object]:
    """Every object that this one holds, by whatever way; not what all code shares (modules, classes, globals)."""
    seen, waiting = {id(begin)}, [begin]
    while waiting:
        each = waiting.pop()
        yield each
        for held in _held(each):
            if id(held) not in seen and not isinstance(held, ModuleType | type | CodeType | BuiltinFunctionType):
                seen.add(id(held))
                waiting.append(held)


def _held(each: object) -> list[Any]:
    if isinstance(each, MethodType):
        return [each.__self__, each.__func__]
    if isinstance(each, FunctionType):
        return [*(each.__closure__ or ()), *(each.__defaults__ or ()), *(each.__kwdefaults__ or {}).values()]
    return gc.get_referents(each)


@pytest.fixture
def make(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Service] = []
    yield lambda name: made.append(built(name, file, monkeypatch)) or made[-1]  # type: ignore[func-returns-value]
    for each in reachable(made):
        if isinstance(each, Consumer):  # the dispatcher's look for a broker until then
            each.close()


def test_the_readers_are_found() -> None:
    assert len(READERS) >= 8, READERS


@pytest.mark.req("OPS-8")
@pytest.mark.parametrize("name", [each for each in READERS if each not in OF_ITS_NUMBERS])
async def test_a_changed_policy_is_taken_up_and_nothing_of_the_old_one_is_left(
    name: str, file: Path, make: Make
) -> None:
    service = make(name)
    watch = watch_of(service)
    old, held = watch._file.applied, [service, *service.components, service.http_app]
    before = parts(old)
    assert any(id(each) in before for each in reachable([h for h in held if h is not watch])), "it goes by no policy"
    assert look(service) == (None, set()), "nothing has changed"
    followers = [each for each in reachable(held) if _follows(each)]
    change(file, LIVE)
    newest, followed = look(service)
    assert newest is not None and newest.version != old.version
    lagging = {type(each).__name__ for each in followers if id(each) not in followed}
    assert followers and not lagging, f"{name}: nobody tells {sorted(lagging)}"
    new = parts(newest)
    stale = before.keys() - new.keys()  # built-in profiles are the same ones in every policy
    left = {type(each).__name__ for each in reachable(held) if id(each) in stale}
    assert not left, f"{name} goes by the old {sorted(left)}"
    others = [each for each in held if each is not watch]
    assert any(id(each) in new.keys() - before.keys() for each in reachable(others)), f"{name} goes by none any more"


@pytest.mark.req("OPS-8")
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("before", RESTARTS)
async def test_what_is_read_once_is_refused_aloud(name: str, before: str, file: Path, make: Make) -> None:
    after, who = RESTARTS[before]
    service = make(name)
    assert look(service)[0] is None
    old = watch_of(service)._file.applied
    changes = {before: after}
    if before.startswith("phone_number_id"):
        changes |= {"HARKARA_TOKEN_100000000000001": "HARKARA_TOKEN_100000000000002"}
    change(file, changes)
    if name in who:
        with pytest.raises(PolicyRefused):
            look(service)
        assert watch_of(service)._file.applied is old
    else:
        assert look(service)[0] is not None


def _follows(each: object) -> bool:
    ours = type(each).__module__.startswith("harkara.")
    return ours and inspect.isfunction(getattr(type(each), "follow", None))


def test_whatever_is_held_is_found() -> None:
    class Holder:
        __slots__ = ("kept",)

    holder, sought = Holder(), object()
    holder.kept = [{"a": (lambda of=sought: of,)}]  # type: ignore[attr-defined]
    assert any(each is sought for each in reachable([holder]))
