"""Time zones as clients write them: a mistyped one is told at the door, not found out in somebody's night."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, ValidationInfo

from harkara.policy.hours import zone_named

LONGEST_NAME = 64  # characters: twice the longest name there is
MOST_GUESSES = 100  # wrong names of one request: 0.2 s; of 100,000 the guessing alone would take minutes
_FURTHEST = 3  # letters that a name may be longer or shorter than what was meant


class Guesses:
    """The near names that one request is told. Whoever mends a hundred names sees what is wrong with the others, which
    are refused without one: a request must not keep everybody's waiting."""

    def __init__(self) -> None:
        self._made: dict[str, str | None] = {}

    def near(self, given: str) -> str | None:
        """As `_near`; None for a name that comes after MOST_GUESSES others."""
        if given not in self._made:
            if len(self._made) >= MOST_GUESSES:
                return None
            self._made[given] = _near(given)
        return self._made[given]


def proper_zone(name: str, guesses: Guesses | None = None) -> str:
    """The zone of the IANA database as it is written there, whatever the case it was given in: no two differ in case
    alone. Raises ValueError, with a near name where there is one and the request has some left (`guesses`; None: it has
    one name alone), and without what was given."""
    found = zone_named(name)
    if found is not None:
        return found
    near = (_near if guesses is None else guesses.near)(name.casefold().replace(" ", "_"))
    meant = "" if near is None else f"; the nearest is {near}"
    raise ValueError(f"is no time zone of the IANA database: write it as in Asia/Kolkata{meant}")


@lru_cache(maxsize=1)  # 30 ms: the files of the database are looked through
def _names() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() if zone_named(name) is not None}


@lru_cache(maxsize=1000)  # a run repeats its mistakes
def _near(given: str) -> str | None:
    """By the city alone, or by the letters. Of a file of 100,000 rows each may be wrong in another way: only names that
    begin alike are compared, which still takes up to 2 ms each: see `Guesses`."""
    names = _names()
    of_the_city = [names[each] for each in names if each.rpartition("/")[2] == given]
    if len(of_the_city) == 1:
        return of_the_city[0]
    alike = [each for each in names if each[:1] == given[:1] and abs(len(each) - len(given)) <= _FURTHEST]
    return next((names[each] for each in get_close_matches(given, alike, n=1, cutoff=0.8)), None)


def _checked(name: str, info: ValidationInfo) -> str:
    return proper_zone(name, info.context if isinstance(info.context, Guesses) else None)


Zone = Annotated[
    str,
    Field(max_length=LONGEST_NAME, description="A time zone of the IANA database.", examples=["Asia/Kolkata"]),
    AfterValidator(_checked),
]
"""A time zone of a client's: as the database writes it. Where a request has several, its `Guesses` are the context of
their validation."""
