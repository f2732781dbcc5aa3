"""`docs/reference/lane-reasons.md`: why a lane holds or ends a message, by which rule, and what is kept of it."""

from __future__ import annotations

from harkara.policy.lane_decisions import KINDS
from harkara.policy.lane_reasons import DECIDED, ERROR_POLICY, HAPPENED, META, NOT_SENT

FILE_NAME = "lane-reasons.md"
_HEAD = """# Reasons of the lanes

Generated from `harkara.policy.lane_reasons` and `lane_decisions` by `make docs`.

`reason.code` of the dispatcher's events on `message-lifecycle`. A decision against a message carries its rule, the
policy's version and, in `decision.inputs`, what it went by; `harkara explain` makes it again. The contact rules
(`frequency_cap`, `duplicate_content`) have decisions of their own (`step` contact). Events that were written before
this was kept have neither version nor inputs.

Holds and ends without effect:

| code | what it says | rule | inputs |
|---|---|---|---|
"""
_MIDDLE = f"""| `{META}<code>` | Meta refused it: the name of its error. | `{ERROR_POLICY}` | {{inputs}} |

What became of an attempt, or of a message that goes on; no rule spoke against it:

| code | what it says |
|---|---|
"""
_END = f"""\
| `{NOT_SENT}<why>` | The call was not made after all: for one of the codes above, or a word of the dispatcher's. |
"""


def lane_reasons_markdown() -> str:
    """The page."""
    inputs = {code: f"`{kind}`: {_fields(kind)}" for kind, facts in KINDS.items() for code in facts.codes}
    held = f"{inputs[META]}; of what it holds besides: `hold`: {_fields('hold')}"
    rows = [f"| `{code}` | {text} | `{rule}` | {inputs[code]} |\n" for code, (text, rule) in sorted(DECIDED.items())]
    others = [f"| `{code}` | {told.text} |\n" for code, told in sorted(HAPPENED.items())]
    return "".join([_HEAD, *rows, _MIDDLE.format(inputs=held), *others, _END])


def _fields(kind: str) -> str:
    return ", ".join(name for name in KINDS[kind].model_fields if name != "kind")
