"""What another policy would look at and was not kept of a decision: made again under it, the decision would be a guess.

A decision keeps what its rules looked at, and whatever else is cheap to know. What is not there was not asked by the
policy of its time (what went to a person before, whether a text names the adviser), or not kept yet by that version.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from harkara.contracts.audit import ERASED
from harkara.contracts.event import Decision
from harkara.contracts.intents import Category
from harkara.policy import clearance, contacts, routing
from harkara.policy.contacts import MOST_ON_RECORD, categories_of, rules_of
from harkara.policy.governance import Governance
from harkara.policy.sections import AdvisorIdentification, ContactPurpose, FrequencyCap

PERSON = "who the person was: they were erased"
NAMES = "the person's other names"
COUNTRY = "the recipient's country"
ADVISER = "whether the adviser is named"
ZONES = "the recipient's time zone"
LANGUAGES = "the languages of the template"
NUMBERS = "the state of a number that the sender did not have"
CONTACTS = "what went to the person before"
TEXTS = "what it says of the common texts"


def not_kept(decision: Decision, governance: Governance, then: Governance | None) -> str | None:
    """What is missing for the verdict under `governance`, as a person would say it; None: nothing. `then` is the policy
    of the decision, None where that is not known here. Raises ValidationError where the decision cannot be read."""
    if decision.policy_version == governance.version:
        return None
    missing = _STEPS.get(decision.step)
    return None if missing is None else next(missing(decision, governance, then), None)


def contacts_not_kept(decision: Decision, governance: Governance, then: Governance | None) -> str | None:
    """Of a message that was routed: whether its lane could refuse it by a rule on contacts that was another one then.
    Of what passed such a rule nothing is kept."""
    category = decision.inputs.get("category")
    if category is None or decision.policy_version == governance.version:
        return None
    asked = _contact_rules(governance, category)
    unknown = any(asked) and (then is None or asked != _contact_rules(then, category))
    return CONTACTS if unknown else None


def _contact_rules(governance: Governance, category: Category) -> tuple[Any, ...]:
    """Those about messages of the category."""
    rules = rules_of(governance.compliance)
    caps = [(cap.purpose, cap.most, cap.per_hours) for cap in rules.caps if category in categories_of(cap.purpose)]
    duplicates = rules.duplicates if category in rules.marked else None
    told = None if duplicates is None else (duplicates.within_hours, sorted(duplicates.purposes))
    return tuple(sorted(caps)), told


def _clearance(decision: Decision, governance: Governance, then: Governance | None) -> Iterator[str]:
    """Each fact that is not there is taken for good and for bad: where both give one verdict, it does not matter."""
    facts = clearance.Facts.model_validate(decision.inputs)
    guesses = dict(_guesses(facts, governance, then))
    good = {field: value for field, (value, _, _) in guesses.items()}
    verdict = _judged(facts, good, governance, decision)
    for field, (_, bad, name) in guesses.items():
        if _judged(facts, good | {field: bad}, governance, decision) != verdict:
            yield name


def _guesses(
    facts: clearance.Facts, governance: Governance, then: Governance | None
) -> Iterator[tuple[str, tuple[Any, Any, str]]]:
    """Per field that is not there: a value that nothing speaks against, one that something does, and what it is."""
    listed, countries = governance.do_not_message, governance.compliance.allowed_countries
    if listed and facts.person_key == ERASED:
        yield "person_key", (ERASED, next(iter(listed)), PERSON)
    if listed and facts.names is None and not (then is not None and listed <= then.do_not_message):
        yield "names", ("", next(iter(listed)), NAMES)
    if countries and facts.country is None and not (then is not None and then.compliance.allowed_countries):
        yield "country", (countries[0], "", COUNTRY)
    asked = governance.compliance.advisor_identification
    before = None if then is None else then.compliance.advisor_identification
    if asked is not None and (facts.identified is None or not _names_alike(asked, before)):
        yield "identified", (True, False, ADVISER)


def _names_alike(one: AdvisorIdentification, other: AdvisorIdentification | None) -> bool:
    """Whether both find the adviser named in the same messages."""
    return other is not None and (one.texts, one.templates) == (other.texts, other.templates)


def _judged(
    facts: clearance.Facts, guessed: dict[str, Any], governance: Governance, decision: Decision
) -> dict[str, Any]:
    verdict = clearance.judge(facts.model_copy(update=guessed), governance, decision.at)
    return clearance.verdict_of(verdict)


def _routing(decision: Decision, governance: Governance, then: Governance | None) -> Iterator[str]:
    facts = routing.Facts.model_validate(decision.inputs)
    known = {*facts.numbers, *(each["phone_number_id"] for each in decision.verdict.get("plan", ()))}
    known |= set() if then is None else {number.phone_number_id for number in then.numbers_of(facts.home)}
    if any(number.phone_number_id not in known for number in governance.numbers_of(facts.home)):
        yield NUMBERS
    if _commons_matter(facts, governance, then):
        yield TEXTS
    if facts.zones is not None or not governance.numbers_of(facts.home):
        return
    if _hour_matters(facts, governance) and not (then is not None and _hour_matters(facts, then)):
        yield ZONES
    chains = governance.routing.language_fallback
    if facts.languages and (then is None or then.routing.language_fallback != chains):
        yield LANGUAGES


def _commons_matter(facts: routing.Facts, governance: Governance, then: Governance | None) -> bool:
    """More of them may let a text pass that repeats a template, fewer may no longer."""
    common = {*governance.compliance.common_texts}
    before = set() if then is None else {*then.compliance.common_texts}
    return bool(common - before) if facts.repeats is not None else bool(before - common)


def _hour_matters(facts: routing.Facts, governance: Governance) -> bool:
    """By which the zones were kept, before they always were."""
    return facts.send_window is not None or governance.routing.quiet_hours[facts.category] != "none"


def _contact(decision: Decision, governance: Governance, then: Governance | None) -> Iterator[str]:
    """A refusal keeps the contacts that spoke for it. They may be enough for another one, and for none only where the
    rules look at no others."""
    facts = contacts.Facts.model_validate(decision.inputs)
    if contacts.judged(facts, governance, decision.at) is not None:
        return
    before = None if then is None else contacts.judged(facts, then, decision.at)
    rules = rules_of(governance.compliance)
    caps = [cap for cap in rules.caps if facts.category in categories_of(cap.purpose)]
    if facts.category in rules.marked or len(facts.contacts) >= MOST_ON_RECORD:
        yield CONTACTS
    if caps and (before is None or not all(_within(cap, before.reason.details) for cap in caps)):
        yield CONTACTS


def _within(cap: FrequencyCap, fired: dict[str, str]) -> bool:
    """Whether the cap counts no other contacts than the one that refused the message, by its reason's details."""
    if "purpose" not in fired:
        return False
    counted = categories_of(cast(ContactPurpose, fired["purpose"]))
    return categories_of(cap.purpose) <= counted and cap.per_hours <= float(fired["per_hours"])


_STEPS = {"clearance": _clearance, "routing": _routing, "contact": _contact}
"""What a lane's other decisions look at is all kept of them."""
