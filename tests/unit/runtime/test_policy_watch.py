"""A changed policy file: taken up as a whole, or refused as a whole with the old one standing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from harkara.runtime.policy_watch import PolicyFile, PolicyRefused, PolicyWatch
from harkara.runtime.settings import ServiceSettings
from tests.support.wait import eventually


@dataclass(frozen=True)
class Words:
    """A policy of one line."""

    version: str


def load(path: Path) -> Words:
    text = path.read_text() if path.exists() else ""
    if not text:
        raise ValueError(f"{path.name}:1: says nothing")
    return Words(text)


def needs_restart(old: Words, new: Words) -> list[str]:
    return [f"{new.version} is too far from {old.version}"] if new.version.startswith("far") else []


def written(path: Path, text: str) -> None:
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written(tmp_path / "words.yaml", "one")
    return tmp_path / "words.yaml"


def followed(path: Path) -> PolicyFile[Words]:
    return PolicyFile(path, load(path), load, needs_restart)


def test_nothing_new_is_nothing_and_a_change_is_taken_up_once(path: Path) -> None:
    file = followed(path)
    assert file.look() is None
    written(path, "two")
    assert file.look() == Words("two") == file.applied
    assert file.look() is None


@pytest.mark.parametrize(("text", "why"), [("", "says nothing"), ("far away", "needs a restart")])
def test_a_file_that_cannot_be_taken_up_is_refused_once_and_the_old_one_stands(path: Path, text: str, why: str) -> None:
    file = followed(path)
    written(path, text)
    with pytest.raises(PolicyRefused, match=why):
        file.look()
    assert file.look() is None
    assert file.applied == Words("one")
    written(path, "two")
    assert file.look() == Words("two")


def test_a_file_that_is_gone_is_refused_and_its_return_is_seen(path: Path) -> None:
    file = followed(path)
    assert file.look() is None
    path.unlink()
    with pytest.raises(PolicyRefused):
        file.look()
    written(path, "two")
    assert file.look() == Words("two")


async def test_the_component_hands_it_on_and_tells_of_a_refusal(path: Path) -> None:
    heard: list[str] = []
    watch = PolicyWatch(ServiceSettings(), followed(path), [lambda w: heard.append(w.version)], look_seconds=0.01)
    assert watch.ready() is not None
    running = asyncio.create_task(watch.run())
    try:
        written(path, "two")
        await eventually(lambda: heard == ["two"])
        assert watch.ready() is None
        written(path, "")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 1)
        written(path, "two")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 0)
        written(path, "three")
        await eventually(lambda: heard == ["two", "three"])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
