"""What would become of an intent if it were sent now: the guard's decision, then the router's (B15, ING-17).

Preview, precheck and send ask this one function, and it asks the functions that the guard and the router decide by. So
what is shown to a person before a run is what happens to it, as long as nothing that is known changes in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from harkara.contracts.event import Reason
from harkara.contracts.intents import ClearedIntent, Form, SendIntent
from harkara.policy.clearance import Question, Rejected, Word, decide
from harkara.policy.contacts import left_to_the_lane
from harkara.policy.fallback import plan_fallback, told
from harkara.policy.governance import Governance
from harkara.policy.routing import Condition, NoRoute, Planned, Surroundings, health, plan
from harkara.policy.templates import TemplateFact

Outcome = Literal["session", "template", "held", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("session", "template", "held", "refused")


@dataclass(frozen=True, slots=True)
class Verdict:
    """session, template: it goes at once (or in its slot) by `number`. held: it would wait for `code`, until `due` as
    far as that is known, and then go by `number` in `form`. refused: for `reason`, by the guard or the router.
    `fallback`: in which form its fallback content would go, or why it would not; empty where it has none.
    `decided_in_lane`: for which codes its lane may yet end it, by what the person was sent before; only it knows."""

    outcome: Outcome
    code: str = ""
    number: str | None = None
    form: Form | None = None
    due: datetime | None = None
    reason: Reason | None = None
    fallback: str = ""
    decided_in_lane: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What is compared and counted: the outcome and, where there is one, why."""
        return f"{self.outcome}:{self.code}" if self.code else self.outcome


def resolve(
    intent: SendIntent,
    person_key: str,
    word: Word | None,
    around: Surroundings,
    governance: Governance,
    now: datetime,
    names: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on an intent that is written now. A function of its arguments; never raises for a valid intent.

    `word` is what the person said for the intent's purpose, `around` what is known of its home's numbers, `names` the
    other names of the person.
    """
    cleared = decide(Question(intent, now, person_key, word, names=names), governance, now)
    if isinstance(cleared, Rejected):
        return Verdict("refused", cleared.reason.code, reason=cleared.reason)
    asked = ClearedIntent.model_construct(  # of values that are checked already: a check takes longer than the decision
        intent=intent,
        intent_hash="",
        home=cleared.home,
        person_key=person_key,
        received_at=now,
        expires_at=cleared.expires_at,
        policy_version=cleared.policy_version,
        answers=None,
    )
    planned = plan(asked, governance, around, now)
    if isinstance(planned, NoRoute):
        return Verdict("refused", planned.reason.code, reason=planned.reason)
    verdict = _of_plan(planned, governance, intent.not_before, now)
    fallback = told(plan_fallback(asked, governance, around, now))
    in_lane = left_to_the_lane(governance.compliance, intent.category)
    return replace(verdict, fallback=fallback, decided_in_lane=in_lane) if fallback or in_lane else verdict


def _of_plan(planned: Planned, governance: Governance, not_before: datetime | None, now: datetime) -> Verdict:
    first, facts, opened = planned.plan[0], planned.facts, planned.opening
    condition = Condition() if facts is None else facts.numbers.get(first.phone_number_id, Condition())
    standing = health(condition, first.form, now)
    number, form = first.phone_number_id, first.form
    if standing:
        code = "number_halted" if condition.verdict == "halted" else "number_paused"
        return Verdict("held", code, number, form, condition.until)
    paused = _paused_template(planned, governance)
    if paused is not None:
        return Verdict("held", "template_paused", number, form, paused.paused_until)
    if opened is not None and opened.due > max(now, not_before or now):
        return Verdict("held", "out_of_hours", number, form, opened.due)
    return Verdict(form, "", number, form, None if opened is None else opened.due)


def _paused_template(planned: Planned, governance: Governance) -> TemplateFact | None:
    """What is known of the template by which it would go, where that one is paused."""
    number = governance.number(planned.plan[0].phone_number_id)
    if planned.plan[0].form != "template" or planned.template is None or planned.facts is None or number is None:
        return None
    fact = planned.facts.templates.get(number.waba_id, {}).get(planned.template.language)
    return fact if fact is not None and fact.status == "PAUSED" else None
