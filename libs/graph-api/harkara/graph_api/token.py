"""An access token as somebody wrote it down: with `echo`, in an editor, in a Secret, and so often with a line's end."""

from __future__ import annotations


class UnusableToken(ValueError):
    """It holds a character that no HTTP header carries. Says where and which kind, never what stands there."""


def token_in(text: str) -> str:
    """The token without the white space around it; empty where there is nothing else.

    A token is visible ASCII (RFC 6750). Raises UnusableToken where a character of it is not: no request could be made
    with it, and a typographic dash looks like a good one.
    """
    token = text.strip()
    for place, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            kind = "white space" if character.isspace() else "no visible ASCII character"
            raise UnusableToken(f"character {place} of {len(token)} is {kind}: an access token has none of these")
    return token
