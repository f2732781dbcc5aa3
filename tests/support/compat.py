"""Whether a newer JSON Schema still takes everything that an older one took, and still says everything it said.

Only what pydantic writes is understood: types, enums, bounds, formats, patterns, references, alternatives. A change of
a keyword that is not understood counts as a break, so that nothing passes unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
TAKES = {("integer", "number")}  # a number is wider than an integer
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
FIXED = ("pattern", "format", "multipleOf", "uniqueItems", "prefixItems", "propertyNames", "contentEncoding")
"""Keywords that narrow and of which two cannot be compared: added or changed is a break, removed is none."""
TREATED = frozenset(
    {"$ref", "$defs", "type", "anyOf", "oneOf", "enum", "const", "properties", "required", "items",
     "additionalProperties", *LOWER_BOUNDS, *UPPER_BOUNDS, *FIXED}
)  # fmt: skip
COMMENTS = frozenset({"title", "description", "default", "examples", "discriminator", "deprecated", "$schema", "$id"})


def breaks(old: Schema, new: Schema) -> list[str]:
    """What a reader or writer of `old` could no longer rely on under `new`, one sentence each; [] where nothing."""
    return list(_breaks(_Node(old, old), _Node(new, new), "", frozenset()))


def breaks_of_all(old: dict[str, Schema], new: dict[str, Schema]) -> list[str]:
    """The breaks of a set of schemas by `ce_type`. A type may only go when a later version of it is there."""
    found = []
    for name, schema in sorted(old.items()):
        if name in new:
            found += [f"{name}: {each}" for each in breaks(schema, new[name])]
        elif not any(_is_later(each, name) for each in new):
            found.append(f"{name}: is no more, and no later version takes its place")
    return found


def _is_later(name: str, than: str) -> bool:
    stem, _, version = name.rpartition(".v")
    old_stem, _, old_version = than.rpartition(".v")
    return stem == old_stem and int(version) > int(old_version)


@dataclass(frozen=True)
class _Node:
    """A part of a schema and the whole it belongs to, for its references."""

    part: Schema
    root: Schema

    def at(self, part: Any) -> _Node:
        return _Node(part if isinstance(part, dict) else {}, self.root)

    def alternatives(self) -> list[_Node]:
        """The node as plain alternatives of one kind each: references followed, anyOf and lists of types unfolded."""
        part = self.part
        for key in ("anyOf", "oneOf"):
            if key in part:
                rest = {name: value for name, value in part.items() if name != key}
                return [found for each in part[key] for found in self.at(_merged(rest, each)).alternatives()]
        if "$ref" in part:
            target = self.root["$defs"][part["$ref"].removeprefix("#/$defs/")]
            rest = {name: value for name, value in part.items() if name != "$ref"}
            return self.at(_merged(rest, target)).alternatives()
        kinds = part.get("type", KINDS if "const" not in part and "enum" not in part else [_kind_of_values(part)])
        return [self.at(part | {"type": kind}) for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _merged(outer: Schema, inner: Schema) -> Schema:
    required = sorted({*outer.get("required", []), *inner.get("required", [])})
    return outer | inner | ({"required": required} if required else {})


def _kind_of_values(part: Schema) -> str:
    values = part.get("enum", [part.get("const")])
    return "string" if all(isinstance(value, str) for value in values) else "number"


def _breaks(old: _Node, new: _Node, path: str, above: frozenset[tuple[str, str]]) -> Iterator[str]:
    crossing = (_text(old.part), _text(new.part))
    if crossing in above:
        return  # a type that contains itself: being compared already
    above = above | {crossing}
    choices = new.alternatives()
    for alternative in old.alternatives():
        kind = alternative.part["type"]
        fitting = [each for each in choices if each.part["type"] == kind or (kind, each.part["type"]) in TAKES]
        if not fitting:
            yield f"{path or '(event)'}: {kind} is no longer taken"
            continue
        yield from min((list(_of_kind(alternative, each, path, above)) for each in fitting), key=len)


def _of_kind(old: _Node, new: _Node, path: str, above: frozenset[tuple[str, str]]) -> Iterator[str]:
    where = path or "(event)"
    yield from (f"{where}: {each}" for each in _values(old.part, new.part))
    yield from (f"{where}: {each}" for each in _limits(old.part, new.part))
    for key in sorted((old.part.keys() | new.part.keys()) - TREATED - COMMENTS):
        if old.part.get(key) != new.part.get(key):
            yield f"{where}: {key} changed, which is not understood here"
    if old.part["type"] == "object":
        yield from _fields(old, new, path, above)
    if "items" in new.part:
        yield from _breaks(old.at(old.part.get("items")), new.at(new.part["items"]), f"{path}[]", above)


def _values(old: Schema, new: Schema) -> Iterator[str]:
    after = new.get("enum", [new["const"]] if "const" in new else None)
    before = old.get("enum", [old["const"]] if "const" in old else None)
    if after is None:
        return
    if before is None:
        yield f"only {', '.join(map(str, after))} are taken now"
        return
    for value in before:
        if value not in after:
            yield f"{value!r} is no longer taken"


def _limits(old: Schema, new: Schema) -> Iterator[str]:
    for key in LOWER_BOUNDS:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{key} is {new[key]} now, was {old.get(key, 'not set')}"
    for key in UPPER_BOUNDS:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{key} is {new[key]} now, was {old.get(key, 'not set')}"
    for key in FIXED:
        if key in new and new[key] != old.get(key):
            yield f"{key} is {new[key]!r} now, was {old.get(key, 'not set')!r}"


def _fields(old: _Node, new: _Node, path: str, above: frozenset[tuple[str, str]]) -> Iterator[str]:
    before, after = old.part.get("properties", {}), new.part.get("properties", {})
    for name in sorted(before.keys() - after.keys()):
        yield f"{_below(path, name)}: is no more"
    for name in sorted(set(new.part.get("required", [])) - set(old.part.get("required", []))):
        yield f"{_below(path, name)}: is required now"
    for name in sorted(before.keys() & after.keys()):
        yield from _breaks(old.at(before[name]), new.at(after[name]), _below(path, name), above)
    open_before, open_after = old.part.get("additionalProperties", True), new.part.get("additionalProperties", True)
    if open_before is not False and open_after is False:
        yield f"{path or '(event)'}: other keys are refused now"
    elif open_before is not False and isinstance(open_after, dict):
        yield from _breaks(old.at(open_before), new.at(open_after), _below(path, "*"), above)


def _text(part: Schema) -> str:
    return json.dumps(part, sort_keys=True)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
