"""Who may call what, and how often: tokens, and the management calls of an account in an hour."""

from __future__ import annotations

import orjson

from harkara.graph_simulator.limits import HourlyCalls
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.world import NumberSpec, WabaSpec, World


class Access:
    """The tokens of a world. A number's token holds for it and its account's lists, an account's for all it has."""

    def __init__(self, world: World) -> None:
        self._tokens = {token for w in world.wabas for token in (w.token, *(n.token for n in w.numbers)) if token}
        self._app_id = world.app_id
        self._calls: dict[str, HourlyCalls] = {waba.id: HourlyCalls() for waba in world.wabas}

    def authorise(self, authorization: str | None, waba: WabaSpec | None, number: NumberSpec | None) -> Refusal | None:
        """Whether the bearer token may act on this number or account: 190, 190/463 or 10 where it may not."""
        token = authorization[7:] if authorization is not None and authorization.startswith("Bearer ") else ""
        if not token:
            return Refusal(190, message="An access token is required to request this resource.")
        if token not in self._tokens:
            return Refusal(190, message="Invalid OAuth access token - Cannot parse access token")
        if number is not None and not number.token_valid:
            return Refusal(190, subcode=463, message="Error validating access token: Session has expired.")
        if waba is not None:
            own = {waba.token, number.token} if number is not None else {waba.token, *(n.token for n in waba.numbers)}
            if token not in own:
                return Refusal(10, message="(#10) Application does not have permission for this action")
        return None

    def app_token(self, secret: str) -> str:
        """The app's own token, as GET /oauth/access_token gives it."""
        return f"{self._app_id}|{secret}"

    def authorise_app(self, authorization: str | None, query_token: str | None, secret: str) -> Refusal | None:
        """Calls on the app itself take the app's token, in the query as Meta's own examples, or any known one."""
        if query_token == self.app_token(secret) or authorization == f"Bearer {self.app_token(secret)}":
            return None
        return self.authorise(authorization, None, None)

    def count_call(self, waba: WabaSpec, now: float, per_hour: int) -> Refusal | None:
        """80007 above the account's calls per hour, with the usage header that says when it may go on."""
        calls = self._calls[waba.id]
        if calls.take(now, per_hour):
            return None
        return Refusal(80007, usage=self.usage(waba, now, per_hour))

    def usage(self, waba: WabaSpec, now: float, per_hour: int) -> str:
        """X-Business-Use-Case-Usage: percentages, and minutes until the account may call again."""
        percent = self._calls[waba.id].percent(per_hour)
        row = {
            "type": "whatsapp_business_management",
            "call_count": percent,
            "total_cputime": percent // 4,
            "total_time": percent // 2,
            "estimated_time_to_regain_access": HourlyCalls.minutes_left(now) if percent >= 100 else 0,
        }
        return orjson.dumps({waba.id: [row]}).decode()
