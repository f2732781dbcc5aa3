"""Every reason for which a lane holds or ends a message, or says what became of an attempt: the rule and the sentence.

One table for the events of the lanes and for whoever explains them. A reason that a rule decided names it; what only
happened (a call without an answer, a status that settled it) has none.
"""

from __future__ import annotations

from typing import NamedTuple

from harkara.contracts.event import Reason

NOT_SENT = "not_sent_"
"""Begins the reason of a step after an attempt that surely never left; what kept it back follows."""
META = "meta_"
"""Begins the reason of a refusal of Meta's; its code follows."""
ERROR_POLICY = "error_policy"


class Told(NamedTuple):
    """For people, and where to look it up."""

    text: str
    rule: str | None = None


_CONSENT, _COMMANDS, _HOURS = "compliance.consent", "send-commands", "routing.quiet_hours"
_BREAKER, _NUMBERS, _PORTFOLIOS, _TEMPLATES = "telemetry.circuit_breaker", "numbers", "portfolios", "templates"
_DOUBT = "dispatch.in_doubt_policy"

DECIDED: dict[str, Told] = {
    "cancelled": Told("A cancel command names this message, its run or its recipient.", _COMMANDS),
    "consent_opted_out": Told(
        "The person opted out, which cancels everything that was accepted for them until then.", _CONSENT
    ),
    "consent_paused": Told("The person has paused these messages.", _CONSENT),
    "consent_blocked": Told("The person is blocked from these messages.", _CONSENT),
    "consent_erased": Told(
        "The person asked to be forgotten, which cancels everything that was accepted for them until then.", _CONSENT
    ),
    "expired": Told("Its deadline passed before it could be sent.", "expires_at"),
    "window_closed": Told(
        "The customer service window is closed and the plan has no template for it.", "routing.window_margin_minutes"
    ),
    "no_route": Told("The plan has no number to send by.", _NUMBERS),
    "number_halted": Told("Its number is halted until an operator resumes it.", _BREAKER),
    "number_paused": Told("Its number is paused.", _BREAKER),
    "number_pause_proactive": Told("Its number sends only answers inside open windows for now.", _BREAKER),
    "number_of_another_home": Told("Its number is at home in another lane now, which has its pace.", _NUMBERS),
    "number_not_configured": Told("Its number is not in governance.yaml.", _NUMBERS),
    "number_without_token": Told("Its number has no access token.", _NUMBERS),
    "token_refused_thrice": Told(
        "Meta refused this number's token three times; nothing more is sent with it.", ERROR_POLICY
    ),
    "quiet_hours": Told("It is not the time of day at which its recipient may be written to.", _HOURS),
    "no_send_time": Told(
        "Until its life ended there was no more time at which its recipient may be written to.", _HOURS
    ),
    "run_paused": Told("Its run is paused until somebody resumes it.", _COMMANDS),
    "dry_run": Told(
        "A dry run: nothing was sent. The details say by which number it would have gone, and when.", "dry_run"
    ),
    "portfolio_limit": Told(
        "Its portfolio has written to as many people in 24 hours as Meta allows; it goes when a place is free.",
        _PORTFOLIOS,
    ),
    "portfolio_limit_too_late": Told(
        "Its portfolio has written to as many people in 24 hours as Meta allows, and a place comes free only after its "
        "deadline: it will expire, unless one is given back before. Send it again with a later deadline.",
        _PORTFOLIOS,
    ),
    "portfolio_unanswered": Told(
        "The ledger of its portfolio's messaging limit does not answer (quality-monitor keeps it).", _PORTFOLIOS
    ),
    "recipient_spared": Told(
        "Meta keeps marketing from this person (131049), and for longer with each try; it goes a day after the newest "
        "such refusal, or by an answer inside the service window.",
        ERROR_POLICY,
    ),
    "template_paused": Told("Meta has paused its template; it goes when the pause ends.", _TEMPLATES),
    "template_in_assessment": Told(
        "Meta looks at how people take its template and holds what it has of it; this goes when Meta sends that on, or "
        "when a message that tries the template, every ten minutes, is taken as usual.",
        _TEMPLATES,
    ),
    "template_in_review": Told("Meta reviews its template; it goes when the template is approved again.", _TEMPLATES),
    "template_not_approved": Told("Meta does not let its template be sent any more.", _TEMPLATES),
    "template_recategorised": Told(
        "Meta moved its template to a dearer category, which asks for another consent: cancel the run, or send it "
        "again with that category.",
        _TEMPLATES,
    ),
    "template_changed": Told(
        "Its template was changed at Meta, and takes other values than it brings: cancel it, or its run, and send it "
        "again with values that fit; or change the template back, and it goes.",
        _TEMPLATES,
    ),
    "idempotency_conflict": Told("The same message id came before with another intent.", "idempotency"),
    "request_invalid": Told("Its content cannot be made into a request to Meta.", "request"),
    "no_echo": Told("No status came in the category's time; Meta may or may not have the message.", _DOUBT),
    "resend_number_lost": Told(
        "Meta may or may not have the message, and the number of that attempt cannot send it again: it is halted or "
        "has no way to the person any more. Drop it, or resolve it as `resend` once more: then any number of its plan "
        "sends it, and the person may get it from two numbers.",
        _DOUBT,
    ),
    "nobody_resolved_it": Told(
        "Meta may or may not have the message, and nobody has said which in the time it was kept for.", _DOUBT
    ),
    "dropped_by_operator": Told(
        "Meta may or may not have the message; an operator decided not to send it again.", _COMMANDS
    ),
}
"""Decisions of a lane against a message: each is kept with its policy version and inputs (`lane.KINDS`)."""

HAPPENED: dict[str, Told] = {
    "not_reachable": Told("The Graph API cannot be reached."),
    "request_impossible": Told("No request can be made to the Graph API by this number's settings; nothing has left."),
    "endpoint_failing": Told("Meta's answers to this number fail; one call at a time is tried until one is answered."),
    "owner_lost": Told("The dispatcher ended between the journal and the answer; Meta may have the message."),
    "timeout": Told("No answer came in time; Meta may have the message."),
    "connection": Told("The connection broke after the request; Meta may have the message."),
    "answer": Told("The answer could not be read; Meta may have the message."),
    "http_5xx": Told("A server error without Meta's explanation; Meta may have the message."),
    "code": Told("Meta's error does not say whether it has the message."),
    "seen_in_status": Told("A status of Meta showed that it has the message."),
    "held_by_meta": Told(
        "Meta has it, and holds it while it looks at how people take its template: it delivers it, mostly within an "
        "hour, or refuses it then."
    ),
    "resolved_by_operator": Told("An operator said that Meta has the message."),
    "duplicate": Told(
        "Meta has this attempt besides another one of the same message: the person may have got it twice."
    ),
    "resend_granted": Told(
        "No status came in time, or an operator wished it: it is sent once more, under a new attempt."
    ),
    "fallback_content": Told("Its fallback content goes, because the first was not delivered."),
    "fallback_not_watched": Told(
        "Meta has it; its fallback content will not go, for its lane watches as many as it can."
    ),
    "redriven": Told("Somebody has let it go on after it had failed."),
    "typing": Told("Its number shows the person that it types; the message goes in a moment."),
}
"""What became of an attempt, or of a message that goes on: no rule spoke against it."""

_NOT_MADE = {
    "lease": "its time to begin was over",
    "leaving": "the dispatcher was ending",
    "stale": "what is known of people and numbers was too old",
    "barred": "Meta had just refused what its number shares",
    "superseded": "it had changed meanwhile",
    "token": "its number's token could not be read",
    "connect": "the Graph API could not be reached",
    "impossible": "by the settings of its number no request can be made",
    "pool": "no connection was free",
    "closed": "the connection was closed",
}
"""Why a call was not begun, where no rule of DECIDED is the reason."""


def told(code: str, name: str = "") -> Told:
    """Of any reason of a lane's. `name`: of Meta's error, where the code is one. A reason that this version does not
    know is its own sentence: a newer one may have written it."""
    if code.startswith(META):
        bare = code.removeprefix(META)
        unnamed = f"Meta refused it with code {bare}." if bare.isdigit() else "Meta refused it without a code."
        return Told(f"Meta refused it: {name}." if name else unnamed, ERROR_POLICY)
    if code.startswith(NOT_SENT):
        why = code.removeprefix(NOT_SENT)
        known = DECIDED.get(why) or HAPPENED.get(why)
        if known is not None:
            return Told(f"The call was not made after all. {known.text}", known.rule)
        return Told(f"The call was not made: {_NOT_MADE[why]}." if why in _NOT_MADE else code)
    return DECIDED.get(code) or HAPPENED.get(code) or Told(code)


def reason_of(code: str, policy_version: str | None, name: str = "") -> Reason:
    """As an event carries it."""
    text, rule = told(code, name)
    return Reason(code=code, text=text, rule=rule, policy_version=policy_version)
