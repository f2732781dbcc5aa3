"""Meta takes a message and holds it while it looks at how people take its template (B13, cloud-api 2.4).

What follows would be held too, and if people dislike the template all of it fails at once (132015) and nobody gets
anything. So the first such answer stops the template in this lane: the others wait here, without an attempt, or go by
an approved backup. The message itself is submitted: Meta has it.

It ends by itself, whichever comes first:

- A status says that one of those that Meta holds since the last try was sent on. Meta looks at a template, not at a
  message, so all go.
- Every ten minutes one message tries it (`probes.py`): taken plainly, all go; held again, the others wait on. Meta says
  that 99 of 100 holds are over within an hour. So nobody waits much longer here than there, whatever status is lost,
  and six messages an hour add little to what may be dropped. One that has an approved backup does not try it: no
  message is put at risk that has another way.

What ends it never: a call that began before it (`probes.template_served`), and that the template is APPROVED, by
whatever word and of whatever time. A template in assessment is APPROVED all the while, the list says so again with each
reading, and what a lane knows of a template does not tell a list's word from a notice's.

When those that Meta holds fail, 132015 takes the place of this hold (`failed_later.py`). Other lanes are not told:
each finds it out by its first answer, and Meta's word on the template would not be changed by it.
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.hold import IN_ASSESSMENT
from harkara.dispatcher.holds import hold
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.probes import wake_account
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message
from harkara.dispatcher.wordings import at_account

TRIED_EVERY_SECONDS = 600.0


def hold_assessed(scribe: Scribe, around: Surroundings, message: Message) -> str | None:
    """Meta has the message and holds it: its template waits in this account. Its name there, for the message's end;
    None where it went by none that is known. Answers of calls that were under way together hold it once."""
    number = around.fleet.get(message.number or "")
    if message.form != "template" or number is None:
        return None
    name = at_account(number.waba_id, message.template_used or "")
    standing, until, again = scribe.state.holds.get(("template", name)), scribe.now + TRIED_EVERY_SECONDS, False
    if standing is not None and standing.in_assessment:
        until, again = standing.tried_again_at(scribe.now) or until, True
    facts = {"length": TRIED_EVERY_SECONDS, "again": again or None}
    hold(scribe, message.home, "template", name, IN_ASSESSMENT, until, **facts)
    if standing is not None and not again and scribe.state.in_assessment(name):
        wake_account(scribe, around, name)  # who waits for another reason is told of this one
    return name


def end_released(scribe: Scribe, around: Surroundings, message_id: str, attempt: int, failed_code: int | None) -> None:
    """A status names this attempt, and unless it failed (`failed_code`) Meta sent it on: if it held it for its
    template, that is through."""
    if failed_code is not None:
        return
    for template in scribe.state.assessed:  # a handful, where a thousand numbers may be held; each status asks
        if scribe.state.holds[("template", template)].with_meta.get(message_id) == attempt:
            scribe.erase(journal.hold_key("template", template))
            wake_account(scribe, around, template)
            return
