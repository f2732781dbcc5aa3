"""Reads a YAML file into a model, and says of every mistake in which line it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harkara.policy.mistakes import Inconsistent, Location, told
from harkara.policy.seed_form import Translation, is_seed_form, translate

__all__ = ["GovernanceError", "Inconsistent", "Location", "read", "read_with_notes"]

LARGEST_FILE_BYTES = 4 * 1024 * 1024  # tens of thousands of numbers; anything larger is the wrong file


Model = TypeVar("Model", bound=BaseModel)


class GovernanceError(ValueError):
    """The file cannot be used. `problems` has one line each: `governance.yaml:17: numbers[2].profile: ...`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(path: Path, model: type[Model]) -> Model:
    """The file as that model. Raises GovernanceError with every problem found."""
    return read_with_notes(path, model)[0]


def read_with_notes(path: Path, model: type[Model]) -> tuple[Model, list[str]]:
    """The file, in either of its forms, as that model; and what its writer should know. Raises GovernanceError."""
    document = _parsed(path)
    plain = _plain(document)
    translated = translate(plain) if is_seed_form(plain) else Translation(plain)
    found = list(translated.problems)
    try:
        read_model = model.model_validate(translated.content)
    except ValidationError as error:
        found += [(translated.origin(where), what) for where, what in told(error.errors(include_url=False))]
    if found:
        lines = sorted({(_line(document, where), f"{_path(where)}: {what}") for where, what in found})
        raise GovernanceError([f"{path.name}:{line}: {what}" for line, what in lines])
    return read_model, translated.notes


def _parsed(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        where = "; name the file, or set HARKARA_GOVERNANCE_FILE to it"
        why = f"{error.strerror}{where}" if isinstance(error, OSError) else "it is not UTF-8"
        raise GovernanceError([f"{path}: cannot be read: {why}"]) from None
    if len(text) > LARGEST_FILE_BYTES:
        raise GovernanceError([f"{path.name}: is larger than {LARGEST_FILE_BYTES} bytes"])
    try:
        document: Any = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = (error.problem or error.context or "is not YAML").splitlines()[0]
        raise GovernanceError([f"{path.name}:{mark.line + 1 if mark else 1}: {what}"]) from None
    except YAMLError as error:
        raise GovernanceError([f"{path.name}:1: {str(error).splitlines()[0]}"]) from None
    if not isinstance(document, CommentedMap):
        raise GovernanceError([f"{path.name}:1: must hold sections (numbers, pools, compliance ...)"])
    return document


def _plain(node: Any) -> Any:
    """The document without its positions, so that values are compared and hashed as what they are."""
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line(document: CommentedMap, where: Location) -> int:
    """The line (from 1) of the deepest part of `where` that the file has."""
    node: Any = document
    line = 0
    for part in where:
        key = part if isinstance(node, CommentedSeq) else next((k for k in _keys(node) if str(k) == str(part)), None)
        if key is None or key not in _keys(node):
            break
        position = node.lc.data[key]  # of a mapping: [key line, key column, value line, value column]
        line = position[0]
        node = node[key]
    return line + 1


def _keys(node: Any) -> list[Any]:
    if isinstance(node, CommentedSeq):
        return list(range(len(node)))
    return list(node) if isinstance(node, CommentedMap) else []


def _path(where: Location) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(file)"
