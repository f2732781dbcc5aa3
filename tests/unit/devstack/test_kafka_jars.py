from pathlib import Path

import pytest

from harkara.devstack.errors import MissingToolError
from harkara.devstack.kafka_jars import java_major, resolve_kafka


def tool(folder: Path, name: str, script: str) -> None:
    """An executable of that name, as a machine with another Java would have it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("output", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ("command not found", None),
        ("", None),
    ],
)
def test_java_major(output: str, major: int | None) -> None:
    assert java_major(output) == major


def one_sentence(message: str) -> bool:
    return "\n" not in message and message.endswith(".") and message.count(". ") == 0


def test_no_java_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError) as caught:
        resolve_kafka(tmp_path, search_path="")
    message = str(caught.value)
    assert one_sentence(message)
    assert "JDK 17" in message
    assert "HARKARA_KAFKA_BOOTSTRAP" in message
    assert "Docker" in message


def test_an_old_java_is_named(tmp_path: Path) -> None:
    tool(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    with pytest.raises(MissingToolError, match=r"bin/java is version 11: install a JDK 17 or newer"):
        resolve_kafka(tmp_path, search_path=str(tmp_path / "bin"))


def test_java_home_goes_before_the_path(tmp_path: Path) -> None:
    tool(tmp_path / "home", "unused", "")
    tool(tmp_path / "home" / "bin", "java", "echo 'openjdk version \"8.0.1\"' >&2")
    with pytest.raises(MissingToolError, match=r"home/bin/java is version 8"):
        resolve_kafka(tmp_path, search_path="", java_home=str(tmp_path / "home"))


def test_no_maven_is_one_sentence(tmp_path: Path) -> None:
    tool(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.2\" 2022-01-18' >&2")
    with pytest.raises(MissingToolError) as caught:
        resolve_kafka(tmp_path / "cache", search_path=str(tmp_path / "bin"))
    assert one_sentence(str(caught.value))
    assert "install Maven" in str(caught.value)
    assert not (tmp_path / "cache").exists()
