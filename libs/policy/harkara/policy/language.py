"""In which languages a template may go: the person's, then the next ones that it is there in (RTW-8, TPL-7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harkara.contracts.intents import Template


def wordings(template: Template, wanted: str | None, chains: Mapping[str, Sequence[str]]) -> tuple[Template, ...]:
    """The template in each language that the person may be written to in, the best first; last as it was given.

    `wanted` None: as it was given alone. The chain: the language itself, without its country, then the policy's next
    ones. What a variant does not give is the template's own.
    """
    return tuple(spoken_in(template, language) for language in in_order(offered(template), wanted, chains))


def offered(template: Template) -> tuple[str, ...]:
    """The languages that it is there in, its own first."""
    return (template.language, *(variant.language for variant in template.variants))


def in_order(there: Sequence[str], wanted: str | None, chains: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Of the languages that are `there`, the own one first, those that the person may be written to in: see
    `wordings`."""
    languages = [each for each in _chain(wanted, chains) if each in there]
    return tuple(dict.fromkeys([*languages, there[0]]))


def spoken_in(template: Template, language: str) -> Template:
    """The template in this language alone; as it was given, where it is not there in it."""
    plain = template.model_copy(update={"variants": ()}) if template.variants else template
    variant = next((each for each in template.variants if each.language == language), None)
    if variant is None:
        return plain
    given = {name: getattr(variant, name) for name in ("header", "body", "named")}
    return plain.model_copy(
        update={"language": language} | {name: value for name, value in given.items() if value is not None}
    )


def _chain(wanted: str | None, chains: Mapping[str, Sequence[str]]) -> list[str]:
    if wanted is None:
        return []
    without_country = wanted.partition("_")[0]
    return [wanted, without_country, *chains.get(wanted, chains.get(without_country, ()))]
