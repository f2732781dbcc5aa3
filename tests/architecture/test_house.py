"""The rules of the house that a newcomer could break without noticing."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from harkara.contracts.reference import topics_markdown
from harkara.contracts.topics import STREAMS, UPSTREAM
from tests import requirements_report

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for base in ("libs", "services") for p in (ROOT / base).rglob("*.py") if ".venv" not in p.parts)
SERVICES = sorted(p.name for p in (ROOT / "services").iterdir() if (p / "pyproject.toml").exists())
LONGEST_FUNCTION = 70
LONGEST_FILE = 400
CLOCK_HOMES = {"clock.py"}


def test_no_stray_init_breaks_the_namespace() -> None:
    assert not [p for base in ("libs", "services") for p in (ROOT / base).glob("*/harkara/__init__.py")]


@pytest.mark.req("DX-4")
def test_every_service_folder_is_an_entry_point_with_a_readme() -> None:
    installed = {point.name for point in entry_points(group="harkara.services")}
    assert set(SERVICES) | {"graph-simulator"} == installed
    for name in SERVICES:
        folder = ROOT / "services" / name
        assert (folder / "README.md").exists(), f"{name} has no README.md"
        package = folder / "harkara" / name.replace("-", "_")
        for file in ("app.py", "core.py", "settings.py", "metrics.py"):
            assert (package / file).exists(), f"{name} has no {file}: everyone looks for it there"


def test_writers_and_readers_of_topics_are_services() -> None:
    known = {*SERVICES, UPSTREAM}
    for topic in STREAMS:
        assert set(topic.writers) | set(topic.readers) <= known, topic.name


@pytest.mark.parametrize("topic", STREAMS, ids=lambda t: t.name)
def test_a_topic_is_named_in_the_code_of_each_of_its_services(topic: object) -> None:
    """`X = Topic("x", ...)`: each writer's and reader's code names X (its urgent twin and DLQ come with it)."""
    name = topic.name.removesuffix("-urgent")  # type: ignore[attr-defined]
    constant = name.upper().replace("-", "_")
    for service in {*topic.writers, *topic.readers} - {UPSTREAM}:  # type: ignore[attr-defined]
        package = ROOT / "services" / service / "harkara"
        texts = [p.read_text() for p in package.rglob("*.py")]
        assert any(re.search(rf"\b{constant}\b", text) for text in texts), f"{service} does not use {constant}"


def test_functions_and_files_stay_small() -> None:
    large = []
    for path in SOURCES:
        text = path.read_text()
        if text.count("\n") > LONGEST_FILE and "Over 400 lines because" not in (
            ast.get_docstring(ast.parse(text)) or ""
        ):
            large.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    large.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not large, "\n".join(large)


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert not [p for p in SOURCES if p.stem in {"utils", "common", "helpers", "base", "misc"}]


def test_the_clock_is_read_in_one_place() -> None:
    """Everything else takes the time as an argument or from runtime's Clock, so that a test can move it."""
    found = []
    for path in SOURCES:
        if path.name in CLOCK_HOMES:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"datetime\.(now|utcnow)\(|\btime\.time\(\)", line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert not found, found


def test_no_transaction_touches_a_topic_that_faust_reads() -> None:
    """Transaction markers leave gaps in the offsets, and Faust commits about one gap per interval."""
    transactional = {"dispatch-journal"}
    producers = [p for p in SOURCES if "begin_transaction" in p.read_text()]
    assert all("dispatcher" in p.parts for p in producers)
    faust_read = {t.name for t in STREAMS if set(t.readers) & {"message-state", "sla-tracker", "quality-monitor"}}
    assert not transactional & faust_read


def test_no_credential_and_no_machine_is_named() -> None:
    pattern = re.compile(r"/work/|/root/|/tmp/team")
    for path in [*SOURCES, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "Makefile"]:
        assert not pattern.search(path.read_text()), path


def test_the_generated_reference_is_current() -> None:
    assert (ROOT / "docs/reference/topics.md").read_text() == topics_markdown(), "run `make docs`"


def test_every_requirement_named_by_a_test_exists() -> None:
    assert set(requirements_report.shown()) <= set(requirements_report.rows())


def test_python_floor_is_the_same_everywhere() -> None:
    for path in [ROOT / "pyproject.toml", *ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]:
        assert tomllib.loads(path.read_text())["project"]["requires-python"] == ">=3.11", path
