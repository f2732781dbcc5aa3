"""The mutants of one module: small changes of its code, each a mistake that somebody could make.

A comparison gets its neighbour, a number moves by one, `and` becomes `or`, `not` goes, a sum becomes a difference, what
is returned becomes None, a condition always or never holds, a statement without which the code still runs is left out.
What decides nothing stays: texts, annotations (but not the bounds within them), decorators, assertions, and arguments
that say how a thing is printed or cached.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
LEFT_ALONE = frozenset({"strict", "repr", "maxsize", "slots", "frozen", "indent", "timespec"})
"""Keywords whose values decide nothing: they print, cache, or check what cannot be."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `function`: in which (dotted; `module` outside of all), `change`: what became of what."""

    module: str
    function: str
    line: int
    source: str
    change: str
    code: CodeType = field(repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is known by wherever its line moves."""
        return self.module, self.function, self.source, self.change


@dataclass(frozen=True, slots=True)
class _Site:
    """A place that can be changed, and changed back. `shown`: the part of the code that is told before and after."""

    shown: ast.AST
    function: str
    do: Callable[[], None]
    undo: Callable[[], None]
    told: str = ""


def mutants_of(module: str, source: str, path: str) -> list[Mutant]:
    """All of a module, in the order of its lines; none whose code is the module's own, and none twice."""
    tree = ast.parse(source)
    lines = source.splitlines()
    seen = {fingerprint(compile(tree, path, "exec"))}
    told: Counter[tuple[int, str]] = Counter()
    found = []
    for site in _sites_of(tree):
        before = _text(site.shown)
        site.do()
        code, after = compile(tree, path, "exec"), site.told or _text(site.shown)
        site.undo()
        if (print_of := fingerprint(code)) in seen:
            continue
        seen.add(print_of)
        line: int = getattr(site.shown, "lineno", 1)
        change = f"{before}  ->  {after}"
        told[line, change] += 1
        change += f"  (number {told[line, change]} of the line)" if told[line, change] > 1 else ""
        found.append(Mutant(module, site.function, line, lines[line - 1].strip(), change, code))
    return sorted(found, key=lambda mutant: mutant.line)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else f"{text[:70]} ... {text[-25:]}"


def fingerprint(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, wherever its lines are: equal for equal code."""
    constants = tuple(
        fingerprint(each) if isinstance(each, CodeType) else (type(each), repr(each)) for each in code.co_consts
    )
    return code.co_code, constants, code.co_names, code.co_varnames


def _sites_of(tree: ast.Module) -> Iterator[_Site]:
    yield from _in_body(tree, "body", "module")


def _in_body(owner: ast.AST, name: str, function: str) -> Iterator[_Site]:
    body: list[ast.stmt] = getattr(owner, name)
    for place, statement in enumerate(body):
        if _removable(statement):
            yield _swap_item(body, place, ast.copy_location(ast.Pass(), statement), statement, function, "left out")
        yield from _in_statement(statement, function)


def _removable(statement: ast.stmt) -> bool:
    """Whether the code can run without it: a call, a raise, a change of something that is there already."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Attribute | ast.Subscript) for target in statement.targets)
    return isinstance(statement, ast.AugAssign | ast.Raise | ast.Delete | ast.Continue | ast.Break)


def _in_statement(statement: ast.stmt, function: str) -> Iterator[_Site]:
    match statement:
        case ast.Assert() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from _in_definition(statement, function)
            return
        case ast.AnnAssign():
            yield from _in_calls(statement.annotation, function)
            if statement.value is not None:
                yield from _in_expression(statement.value, function)
            return
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield _swap(statement, "value", ast.copy_location(ast.Constant(None), value), statement, function)
        case ast.AugAssign():
            yield from _operation(statement, function)
        case ast.If():
            yield from _condition(statement, function)
        case ast.While():
            yield _never(statement, function)
    yield from _in_parts_of(statement, function)


def _in_parts_of(statement: ast.stmt, function: str) -> Iterator[_Site]:
    for name, value in ast.iter_fields(statement):
        if name in ("body", "orelse", "finalbody"):
            yield from _in_body(statement, name, function)
        else:
            yield from _in_field(value, function)


def _in_definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, outer: str) -> Iterator[_Site]:
    function = node.name if outer == "module" else f"{outer}.{node.name}"
    if not isinstance(node, ast.ClassDef):
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                yield from _in_expression(default, function)
    yield from _in_body(node, "body", function)


def _in_calls(annotation: ast.expr, function: str) -> Iterator[_Site]:
    """The bounds within an annotation such as Annotated[int, Field(ge=1)]."""
    if isinstance(annotation, ast.Call):
        yield from _in_expression(annotation, function)
        return
    for child in ast.iter_child_nodes(annotation):
        if isinstance(child, ast.expr):
            yield from _in_calls(child, function)


def _in_field(value: object, function: str) -> Iterator[_Site]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, ast.expr):
            yield from _in_expression(each, function)
        elif isinstance(each, ast.match_case | ast.withitem | ast.ExceptHandler | ast.comprehension | ast.keyword):
            yield from _in_part(each, function)


def _in_part(part: ast.AST, function: str) -> Iterator[_Site]:
    """What is neither statement nor expression, and has some of both."""
    if isinstance(part, ast.keyword) and part.arg in LEFT_ALONE:
        return
    if isinstance(part, ast.comprehension):
        for place, condition in enumerate(part.ifs):
            for holds in (True, False):
                yield _swap_item(part.ifs, place, _constant(holds, condition), condition, function, _held(holds))
    for name, value in ast.iter_fields(part):
        if name == "body":
            yield from _in_body(part, name, function)
        elif name != "pattern":
            yield from _in_field(value, function)


def _in_expression(node: ast.expr, function: str) -> Iterator[_Site]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                yield _swap_item(node.ops, place, COMPARISONS[type(operator)](), node, function)
        case ast.BoolOp():
            yield _swap(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And(), node, function)
        case ast.BinOp():
            yield from _operation(node, function)
        case ast.UnaryOp(op=ast.Not()):
            twice = ast.copy_location(ast.UnaryOp(ast.Not(), node.operand), node.operand)
            yield _swap(node, "operand", twice, node, function)
        case ast.IfExp():
            yield from _condition(node, function)
        case ast.Constant():
            yield from _constants(node, function)
    for _, value in ast.iter_fields(node):
        yield from _in_field(value, function)


def _constants(node: ast.Constant, function: str) -> Iterator[_Site]:
    if isinstance(node.value, bool):
        yield _swap(node, "value", not node.value, node, function)
    elif isinstance(node.value, int):
        yield _swap(node, "value", node.value + 1, node, function)
        yield _swap(node, "value", node.value - 1, node, function)
    elif isinstance(node.value, float):
        yield _swap(node, "value", node.value + 1.0, node, function)


def _operation(node: ast.BinOp | ast.AugAssign, function: str) -> Iterator[_Site]:
    if type(node.op) in OPERATIONS:
        yield _swap(node, "op", OPERATIONS[type(node.op)](), node, function)


def _condition(node: ast.If | ast.IfExp, function: str) -> Iterator[_Site]:
    for holds in (True, False):
        yield _swap(node, "test", _constant(holds, node.test), node.test, function, told=_held(holds))


def _never(node: ast.While, function: str) -> _Site:
    return _swap(node, "test", _constant(False, node.test), node.test, function, told=_held(False))


def _held(holds: bool) -> str:
    return "always" if holds else "never"


def _constant(value: object, where: ast.expr) -> ast.Constant:
    return ast.copy_location(ast.Constant(value), where)  # type: ignore[arg-type]


def _swap(node: ast.AST, name: str, new: object, shown: ast.AST, function: str, told: str = "") -> _Site:
    old = getattr(node, name)
    return _Site(shown, function, lambda: setattr(node, name, new), lambda: setattr(node, name, old), told)


def _swap_item(items: list[Any], place: int, new: object, shown: ast.AST, function: str, told: str = "") -> _Site:
    old = items[place]
    return _Site(shown, function, lambda: items.__setitem__(place, new), lambda: items.__setitem__(place, old), told)
