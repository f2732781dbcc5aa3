"""In which language a template goes: the person's, else the next one that it is there in (RTW-8, TPL-7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harkara.contracts.intents import Template


def in_language(template: Template, wanted: str | None, chains: Mapping[str, Sequence[str]]) -> Template:
    """The template in the language that comes first in the person's chain and that it is there in; else as it is.

    `wanted` None: as it is. The chain: the language itself, without its country, then the policy's next ones. What a
    variant does not give is the template's own.
    """
    found = next((each for each in _chain(wanted, chains) if each in _languages(template)), template.language)
    plain = template.model_copy(update={"variants": ()}) if template.variants else template
    variant = next((each for each in template.variants if each.language == found), None)
    if variant is None:
        return plain
    given = {name: getattr(variant, name) for name in ("header", "body", "named")}
    return plain.model_copy(
        update={"language": found} | {name: value for name, value in given.items() if value is not None}
    )


def _languages(template: Template) -> set[str]:
    return {template.language, *(variant.language for variant in template.variants)}


def _chain(wanted: str | None, chains: Mapping[str, Sequence[str]]) -> list[str]:
    if wanted is None:
        return []
    without_country = wanted.partition("_")[0]
    return [wanted, without_country, *chains.get(wanted, chains.get(without_country, ()))]
