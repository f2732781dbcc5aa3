"""What would become of an intent if it were sent now: the guard's decision, then the router's (B15, ING-17).

Preview, precheck and send ask this one function, and it asks the functions that the guard and the router decide by. So
what is shown to a person before a run is what happens to it, as long as nothing that is known changes in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from harkara.contracts.event import Reason
from harkara.contracts.intents import ClearedIntent, Form, SendIntent
from harkara.policy.clearance import Question, Rejected, Word, decide
from harkara.policy.contacts import left_to_the_lane
from harkara.policy.fallback import plan_fallback, told
from harkara.policy.governance import Governance
from harkara.policy.lane import Obstacle, number_kept_back, template_kept_back
from harkara.policy.opening import Opening
from harkara.policy.routing import Condition, NoRoute, Planned, Surroundings, plan

Outcome = Literal["session", "template", "held", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("session", "template", "held", "refused")


@dataclass(frozen=True, slots=True)
class Verdict:
    """session, template: it goes at once (or in its slot) by `number`. held: it would wait for `code`, until `due` as
    far as that is known, and then go by `number` in `form`. refused: for `reason`, by the guard or the router,
    or by the lane, whose hold outlasts the hours of its recipient.
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
    verdict = _of_plan(planned, governance, intent, now)
    if verdict.outcome == "refused":
        return verdict
    fallback = told(plan_fallback(asked, governance, around, now))
    in_lane = left_to_the_lane(governance.compliance, intent.category)
    return replace(verdict, fallback=fallback, decided_in_lane=in_lane) if fallback or in_lane else verdict


def _of_plan(planned: Planned, governance: Governance, intent: SendIntent, now: datetime) -> Verdict:
    """Holds are asked about for the moment at which it is due, by the functions that its lane asks then: a pause that
    has ended by that time holds nothing."""
    first, facts, opened = planned.plan[0], planned.facts, planned.opening
    condition = (None if facts is None else facts.numbers.get(first.phone_number_id)) or Condition()
    number, form = first.phone_number_id, first.form
    ready = max(now, intent.not_before or now)
    due = ready if opened is None else max(ready, opened.due)
    kept = number_kept_back(condition.verdict, _seconds(condition.until), form, due.timestamp())
    if kept is not None:
        code = "number_halted" if condition.verdict == "halted" else "number_paused"
        return _resumed(Verdict("held", code, number, form, condition.until), opened, intent)
    paused = _kept_template(planned, governance, intent, due)
    if paused is not None:
        until = None if paused.until is None else datetime.fromtimestamp(paused.until, UTC)
        return _resumed(Verdict("held", paused.reason, number, form, until), opened, intent)
    if opened is not None and opened.due > ready:
        return Verdict("held", "out_of_hours", number, form, opened.due)
    return Verdict(form, "", number, form, None if opened is None else opened.due)


def _kept_template(planned: Planned, governance: Governance, intent: SendIntent, due: datetime) -> Obstacle | None:
    """What holds the template by which it would go. The router has refused what may not go at all: a pause is left."""
    number = governance.number(planned.plan[0].phone_number_id)
    if planned.plan[0].form != "template" or planned.template is None or planned.facts is None or number is None:
        return None
    fact = planned.facts.templates.get(number.waba_id, {}).get(planned.template.language)
    if fact is None:
        return None
    until = _seconds(fact.paused_until)
    return template_kept_back(fact.status, until, fact.category, intent.category, due.timestamp())


def _resumed(held: Verdict, opened: Opening | None, intent: SendIntent) -> Verdict:
    """With when it goes after a hold that lasts until it is due: at its end, or in the next of its hours. Where none of
    them ends later, the lane ends it for want of one, and so does this."""
    until = held.due
    if until is None or opened is None or not opened.hours:
        return held
    following = next((span for span in opened.hours if span.end > until), None)
    if following is not None:
        return replace(held, due=max(until, following.start))
    window = intent.send_window
    rule = f"routing.quiet_hours.{intent.category}" if window is None else f"routing.send_windows.{window}"
    text = f"The last hours in which its recipient may be written to end before what holds it ({held.code}) does."
    reason = Reason(code="no_send_time", text=text, rule=rule)
    return Verdict("refused", reason.code, reason=reason)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
