"""The jars of the embedded broker: resolved once by Maven, kept in a cache outside the tree.

Cache: `${XDG_CACHE_HOME:-~/.cache}/harkara/kafka-4.1.0/<hash of pom.xml>/` with `libs/*.jar` and `bootstrap.checkpoint`
(the metadata version and features that `kafka-storage format` writes; it names no cluster and no node, so one copy
formats every data directory without another JVM boot). A changed pom fetches into another directory.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from harkara.devstack.errors import DevstackError, MissingToolError
from harkara.devstack.process import log_tail

KAFKA_VERSION = "4.1.0"
JAVA_MINIMUM = 17  # Kafka 4's broker needs it
# 54 MB of jars: 10 s on a good line; a slow one gets five minutes before the run says so.
_MAVEN_TIMEOUT_SECONDS = 300
_JAVA_TIMEOUT_SECONDS = 30
_INSTEAD = "or set HARKARA_KAFKA_BOOTSTRAP to a running Kafka, or start Docker"
_PACKAGE = files("harkara.devstack") / "kafka"


@dataclass(frozen=True)
class KafkaDistribution:
    """A broker ready to run: `java` is the executable, `home` the cache directory, `java_id` names this JVM's build."""

    java: Path
    java_id: str
    home: Path

    @property
    def classpath(self) -> str:
        """Sorted, so that it is the same string at every start: a class-data archive is bound to it."""
        return os.pathsep.join(str(jar) for jar in sorted((self.home / "libs").glob("*.jar")))

    @property
    def bootstrap_checkpoint(self) -> Path:
        return self.home / "bootstrap.checkpoint"

    @property
    def class_archive(self) -> Path:
        """Where this JVM's class-data archive is, once a broker has written it: it halves the boot (1.6 s -> 0.8 s)."""
        return self.home / f"classes-{self.java_id}.jsa"


def cache_home() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/harkara`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "harkara"


def java_major(version_output: str) -> int | None:
    """The major version in what `java -version` prints: `"17.0.15"` -> 17, `"1.8.0_392"` -> 8, else None."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', version_output)
    if found is None:
        return None
    major = int(found[1])
    return int(found[2]) if major == 1 and found[2] else major


def resolve_kafka(
    cache: Path | None = None, *, search_path: str | None = None, java_home: str | None = None
) -> KafkaDistribution:
    """The broker's distribution, fetched on first use.

    `search_path` and `java_home` stand for PATH and JAVA_HOME (the default when `search_path` is None).
    Raises MissingToolError (no JDK 17+, or no Maven while no jars are cached) and DevstackError (Maven failed).
    """
    if search_path is None:
        search_path, java_home = os.environ.get("PATH", ""), os.environ.get("JAVA_HOME")
    java, java_id = _find_java(search_path, java_home)
    pom = (_PACKAGE / "pom.xml").read_bytes()
    versions = (cache or cache_home()) / f"kafka-{KAFKA_VERSION}"
    home = versions / hashlib.sha256(pom).hexdigest()[:12]
    if not home.exists():
        mvn = shutil.which("mvn", path=search_path)
        if mvn is None:
            raise MissingToolError(f"Maven (mvn) was not found: install Maven 3.8 or newer, {_INSTEAD}.")
        versions.mkdir(parents=True, exist_ok=True)
        with _exclusive(versions / ".lock"):
            if not home.exists():  # another run may have fetched while we waited
                _fetch(Path(mvn), java, pom, home)
    return KafkaDistribution(java=java, java_id=java_id, home=home)


def _find_java(search_path: str, java_home: str | None) -> tuple[Path, str]:
    in_home = shutil.which("java", path=str(Path(java_home) / "bin")) if java_home else None
    java = in_home or shutil.which("java", path=search_path)
    if java is None:
        raise MissingToolError(f"Java was not found: install a JDK {JAVA_MINIMUM} or newer, {_INSTEAD}.")
    told = subprocess.run(  # noqa: S603  the java that PATH names
        [java, "-version"], capture_output=True, text=True, timeout=_JAVA_TIMEOUT_SECONDS, check=False
    )
    version_output = told.stderr + told.stdout
    major = java_major(version_output)
    if told.returncode != 0 or major is None or major < JAVA_MINIMUM:
        found = f"version {major}" if major else "of an unknown version"
        raise MissingToolError(f"Java at {java} is {found}: install a JDK {JAVA_MINIMUM} or newer, {_INSTEAD}.")
    return Path(java), hashlib.sha256(version_output.encode()).hexdigest()[:12]


@contextmanager
def _exclusive(lock_file: Path) -> Iterator[None]:
    """One fetch at a time over all processes of this machine; the kernel frees the lock when its holder dies."""
    with lock_file.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(mvn: Path, java: Path, pom: bytes, home: Path) -> None:
    """Into a neighbour first, then one rename: a cut download is never taken for a distribution."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".fetch-") as work_name:
        work = Path(work_name)
        whole = work / "whole"
        (work / "pom.xml").write_bytes(pom)
        _run(
            [
                str(mvn), "-B", "-q", "-f", str(work / "pom.xml"), "dependency:copy-dependencies",
                f"-DoutputDirectory={whole / 'libs'}", "-DincludeScope=runtime",
            ],
            log=home.parent / "maven.log",
            timeout_seconds=_MAVEN_TIMEOUT_SECONDS,
        )  # fmt: skip
        _format_template(java, work, whole)
        whole.rename(home)


def _format_template(java: Path, work: Path, whole: Path) -> None:
    """Let Kafka's own tool write the checkpoint that every later data directory gets a copy of."""
    properties = work / "format.properties"
    properties.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
        "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={work / 'formatted'}\n"
    )
    _run(
        [
            str(java), "-cp", f"{whole / 'libs'}/*", "kafka.tools.StorageTool",
            "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(properties),
        ],
        log=whole.parent.parent / "format.log",
        timeout_seconds=_JAVA_TIMEOUT_SECONDS,
    )  # fmt: skip
    shutil.copyfile(work / "formatted" / "bootstrap.checkpoint", whole / "bootstrap.checkpoint")


def _run(command: list[str], *, log: Path, timeout_seconds: float) -> None:
    with log.open("wb") as output:
        try:
            done = subprocess.run(  # noqa: S603  our own arguments, no shell
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                timeout=timeout_seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as slow:
            raise DevstackError(
                f"{command[0]} was not done after {timeout_seconds:.0f} s; its output is in {log}."
            ) from slow
    if done.returncode != 0:
        raise DevstackError(f"{command[0]} failed ({done.returncode}); see {log}:\n{log_tail(log)}")
