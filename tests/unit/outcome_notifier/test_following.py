"""A changed callbacks file: taken up endpoint by endpoint, or refused as a whole with the old one standing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from harkara.outcome_notifier.endpoints import LONGEST_FILE, Endpoint
from harkara.outcome_notifier.following import CallbackLoops, CallbacksFile
from harkara.runtime.service import Component
from tests.support.services import ready, running
from tests.support.wait import eventually

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")


@dataclass
class Loops:
    """Loops that only run, as their events."""

    said: list[str] = field(default_factory=list)
    running: dict[str, Endpoint] = field(default_factory=dict)
    failing: str = ""

    def make(self, endpoint: Endpoint) -> Component:
        return One(self, endpoint)


class One:
    def __init__(self, loops: Loops, endpoint: Endpoint) -> None:
        self.name = f"callbacks-{endpoint.producer}"
        self._loops, self._endpoint = loops, endpoint

    def ready(self) -> str | None:
        return None if self._loops.running.get(self._endpoint.producer) == self._endpoint else "not yet"

    async def run(self) -> None:
        producer = self._endpoint.producer
        assert producer not in self._loops.running, "two loops of one producer share its group"
        self._loops.running[producer] = self._endpoint
        self._loops.said.append(f"+{producer}")
        if producer == self._loops.failing:
            raise RuntimeError("the loop failed")
        try:
            await asyncio.Event().wait()
        finally:
            del self._loops.running[producer]
            self._loops.said.append(f"-{producer}")


def entry(producer: str, secret: str = SECRETS[0], path: str = "hooks") -> str:
    return f"  - {{producer: {producer}, url: 'https://example.com/{path}', secrets: [{secret}]}}"


def write(path: Path, *entries: str) -> None:
    """As a mounted Secret is swapped: another file takes the place."""
    new = path.with_suffix(".new")
    new.write_text("\n".join(["endpoints:", *entries]) if entries else "endpoints: 7")
    new.replace(path)


@asynccontextmanager
async def following(path: Path, loops: Loops) -> AsyncIterator[CallbackLoops]:
    component = CallbackLoops(CallbacksFile(path), loops.make, look_seconds=0.01)
    async with running([component]):
        await ready([component])
        yield component
    assert loops.running == {}, "a stop ends every loop"


def count(result: str) -> float:
    return REGISTRY.get_sample_value("harkara_outcome_notifier_file_changes_total", {"result": result}) or 0.0


@pytest.mark.req("WHK-14")
async def test_a_change_makes_only_those_loops_anew_that_it_is_about(tmp_path: Path) -> None:
    path, loops = tmp_path / "callbacks.yaml", Loops()
    write(path, entry("same"), entry("other"), entry("gone"))
    async with following(path, loops) as component:
        loops.said.clear()
        write(path, entry("same"), entry("other", secret=SECRETS[1]), entry("new"))
        await eventually(lambda: component.ready() is None and "new" in loops.running)
        assert sorted(loops.said) == ["+new", "+other", "-gone", "-other"]
        assert set(loops.running) == {"same", "other", "new"}
        before = list(loops.said)
        write(path, entry("same"), entry("other", secret=SECRETS[1]), entry("new"))
        write(path, entry("same"), entry("other", secret=SECRETS[1], path="elsewhere"), entry("new"))
        await eventually(lambda: loops.said == [*before, "-other", "+other"])


@pytest.mark.parametrize(
    "content",
    [b"endpoints: 7", b"\x00\x01", b"\xff\xfe\xfd", b"a: [", b"[" * 1_200, b"# " + b"x" * LONGEST_FILE, None],
    ids=["schema", "control", "utf8", "yaml", "deep", "long", "missing"],
)
async def test_a_wrong_file_changes_nothing_and_is_said_once(tmp_path: Path, content: bytes | None) -> None:
    path, loops = tmp_path / "callbacks.yaml", Loops()
    write(path, entry("same"))
    async with following(path, loops):
        refused, applied = count("refused"), count("applied")
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        await eventually(lambda: count("refused") == refused + 1)
        assert REGISTRY.get_sample_value("harkara_outcome_notifier_file_refused") == 1.0
        assert list(loops.running) == ["same"] and loops.said == ["+same"]
        write(path, entry("same"), entry("new"))
        await eventually(lambda: "new" in loops.running)
        assert (count("refused"), count("applied")) == (refused + 1, applied + 1)
        assert REGISTRY.get_sample_value("harkara_outcome_notifier_file_refused") == 0.0
        assert "-same" not in loops.said


async def test_a_file_that_is_wrong_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "callbacks.yaml").write_text("endpoints: 7")
    with pytest.raises(ValueError, match=r"callbacks\.yaml"):
        CallbacksFile(tmp_path / "callbacks.yaml")


async def test_a_loop_that_fails_ends_the_component(tmp_path: Path) -> None:
    path = tmp_path / "callbacks.yaml"
    write(path, entry("same"))
    with pytest.raises(ExceptionGroup):
        await CallbackLoops(CallbacksFile(path), Loops(failing="same").make, look_seconds=0.01).run()
