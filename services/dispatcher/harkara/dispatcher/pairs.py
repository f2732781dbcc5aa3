"""Meta's pair limit, kept before Meta has to: of one number to one person 45 messages at once, then one per 6 s.

(Meta, messaging limits: a burst of up to 45 is borrowed from the quota that follows. Over it: 131056.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

INTERVAL_SECONDS = 6.0
BURST = 45
FEWEST_KEPT = 50  # pairs of a number among which nobody is looked for


@dataclass(slots=True)
class Pairs:
    """When each person's quota with one number is whole again (generic cell rate algorithm; Unix seconds).

    One whose quota is whole is forgotten at the latest when the table has doubled. A message keeps its person here for
    6 s, so a number at 1,000 calls/s has 6,000 to know and at most 12,000 in the table (2 MB).
    """

    whole_at: dict[str, float] = field(default_factory=dict)
    look_above: int = FEWEST_KEPT

    def note(self, person_key: str, at: float) -> None:
        """A message to this person was attempted at `at`."""
        whole = self.whole_at.get(person_key, at)
        self.whole_at[person_key] = (whole if whole > at else at) + INTERVAL_SECONDS
        if len(self.whole_at) > self.look_above:
            self.whole_at = {each: whole for each, whole in self.whole_at.items() if whole > at}
            self.look_above = max(FEWEST_KEPT, 2 * len(self.whole_at))

    def forget(self, person_key: str) -> None:
        """The last attempt to this person surely never left."""
        if person_key in self.whole_at:
            self.whole_at[person_key] -= INTERVAL_SECONDS

    def rebase(self, step: float) -> None:
        """The clock was set by `step` seconds: what was noted keeps its distance from now."""
        self.whole_at = {each: whole + step for each, whole in self.whole_at.items()}

    def next_at(self, person_key: str) -> float:
        """The earliest time of the next message to this person; 0.0 where nothing stands against one."""
        whole = self.whole_at.get(person_key)
        return 0.0 if whole is None else whole - (BURST - 1) * INTERVAL_SECONDS
