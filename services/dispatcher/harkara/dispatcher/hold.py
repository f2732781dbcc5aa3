"""What keeps a number, a pair or a template from sending, until when, and of whom it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

IN_ASSESSMENT = "template_in_assessment"
"""Why a template waits of which Meta took a message and holds it, to see first how people take the template."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A number, pair or template sends nothing until `until` (Unix seconds; None: until an operator releases it, after
    `at`, when what it is for was said). `told`: numbers of other lanes that were told of it, and until when they are
    held. `length`: of a template, for how many seconds it is held again when it is tried in vain. `with_meta`: of one
    in assessment, the messages (with their attempts) that Meta has held since `at`."""

    reason: str
    until: float | None
    at: float
    told: Mapping[str, float | None] = field(default_factory=dict)
    length: float = 0.0
    with_meta: Mapping[str, int] = field(default_factory=dict)

    @property
    def in_assessment(self) -> bool:
        """Whether Meta tries the template out."""
        return self.reason == IN_ASSESSMENT

    @property
    def for_others(self) -> Hold:
        """As it is for who does not try it. Of an assessment nobody knows the end: whoever waits is told of no time,
        and so of no other one whenever it was tried in vain; its end wakes them."""
        return replace(self, until=None) if self.in_assessment else self

    def tried_again(self, now: float) -> Hold:
        """As it is for the others while it is tried."""
        return replace(self, until=self.tried_again_at(now)).for_others

    def tried_again_at(self, now: float) -> float | None:
        """When a template that is tried now, in vain, is tried next: whole lengths after `until`, so that who waits for
        that time need not be told of another one."""
        return None if self.until is None else self.until + self.length * ((now - self.until) // self.length + 1)

    def took(self, message_id: str, attempt: int) -> Hold:
        """Meta holds this one too."""
        return replace(self, with_meta={**self.with_meta, message_id: attempt})
