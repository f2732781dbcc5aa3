"""`make requirements`: which rows of docs/requirements.md no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| ([A-Z]{1,3}-?\d+) \| (.*) \|$", re.MULTILINE)


def rows() -> dict[str, str]:
    """Every requirement's id and text."""
    return dict(ROW.findall((ROOT / "docs" / "requirements.md").read_text()))


def shown() -> dict[str, list[str]]:
    """The tests that name a requirement in a `req` mark, by requirement."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in (_req_ids(decorator) for decorator in node.decorator_list):
                    for each in mark:
                        found.setdefault(each, []).append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def _req_ids(decorator: ast.expr) -> list[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.req":
        return [str(arg.value) for arg in decorator.args if isinstance(arg, ast.Constant)]
    return []


def main() -> None:
    """Print the rows with no test, and how many have one."""
    every, tested = rows(), shown()
    for row, text in every.items():
        if row not in tested:
            print(f"{row:8} {text[:110]}")
    print(f"\n{len(every.keys() & tested.keys())} of {len(every)} rows are shown by a test")


if __name__ == "__main__":
    main()
