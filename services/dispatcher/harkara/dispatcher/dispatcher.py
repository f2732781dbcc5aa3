"""The process: takes the lanes that the group gives it, works each in a task, leaves them in order."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from confluent_kafka import Message as Record

from harkara.contracts.partition import partition_for
from harkara.dispatcher import metrics
from harkara.dispatcher.barred import Bar
from harkara.dispatcher.core import number_changed, template_changed
from harkara.dispatcher.denials import Denials
from harkara.dispatcher.emitter import Emitter
from harkara.dispatcher.failpoints import Failpoints
from harkara.dispatcher.garbage import calm
from harkara.dispatcher.holds import sharing
from harkara.dispatcher.kinship import CANCEL, cancel_elsewhere, uncancelled
from harkara.dispatcher.lane import Lane, LaneRefused
from harkara.dispatcher.lane_log import Broken, Fenced
from harkara.dispatcher.leases import LeaseReplica
from harkara.dispatcher.leaving import LEAVE_SECONDS
from harkara.dispatcher.limits import bring_up_to_date
from harkara.dispatcher.membership import Membership
from harkara.dispatcher.places import Key
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.replicas import FRESH_SECONDS, NumberStates
from harkara.dispatcher.senders import Senders, facts_of, policy_of
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.spending import lease_changed
from harkara.dispatcher.tokens import Tokens
from harkara.dispatcher.workshop import Workshop
from harkara.graph_api.outcome import Refused
from harkara.policy.governance import Governance
from harkara.runtime.clock import Clock, SystemClock

THREADS = 8  # commits wait for the broker, not for the processor; more lanes than these take turns
QUEUE_STATE_SECONDS = 1.0
MOST_QUEUE_STATES = 100  # at a time, a fiftieth of a core: of 1,000 busy numbers each is shown every ten seconds
TOKEN_LOOK_SECONDS = 5.0
RETAKE_SECONDS = 1.0
CANCELS_AT_ONCE = 100  # of a person known by two names some 20 us each; a lane may remember a week's
FENCED_PAUSE_SECONDS = 12.0  # above the session timeout: whoever fenced us is the owner, or the group gives it back

log = structlog.get_logger()


class Dispatcher:
    """Component and owner of the lanes."""

    name = "lanes"

    def __init__(
        self, settings: Settings, governance: Governance, emitter: Emitter, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._governance = governance
        tokens = Tokens()
        self._facts = facts_of(governance, tokens, settings.partitions)
        self._partitions_of_account: dict[str, set[int]] = {}
        for facts in self._facts.values():  # neither changes while this runs
            self._partitions_of_account.setdefault(facts.waba_id, set()).add(facts.partition)
        self.denials = Denials(settings, self._denied, self._linked)
        self.number_states = NumberStates(settings, self._number_changed, self._template_changed)
        self.leases = LeaseReplica(settings, self._lease_changed)
        self._senders = Senders(settings, governance, tokens)
        self._membership = Membership(settings, self)
        self._threads = ThreadPoolExecutor(THREADS, "lane")
        self._lanes: dict[int, Lane] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._taken: set[int] = set()
        self._refused: dict[int, str] = {}
        self._emitter = emitter
        self._shop = Workshop(
            settings=settings,
            clock=clock or SystemClock(),
            around=Surroundings(
                self._facts,
                policy_of(governance),
                self.number_states.by_number,
                self.denials.by_person,
                templates=self.number_states.templates,
                fresh=self._fresh,
                leases=self.leases.leases,
                links=self.denials.links,
            ),
            senders=self._senders,
            emitter=emitter,
            failpoints=Failpoints.parse(settings.failpoints),
            member=lambda: self._membership.member,
            offsets=self._membership.offsets,
            threads=self._threads,
            fresh=self._fresh,
            token_lost=self._token_lost,
            barred=self._bar,
            room=self._membership.resume,
        )
        self._bring_limits_up_to_date()

    def ready(self) -> str | None:
        """Ready when every lane that the group gave is taken; a lane that refuses is named."""
        if not self._membership.joined:
            return "joining its group"
        if self._refused:
            return "; ".join(f"lane {partition}: {why}" for partition, why in sorted(self._refused.items()))
        waiting = self._lanes.keys() - self._taken
        return f"taking {len(waiting)} lanes" if waiting else None

    async def run(self) -> None:
        """Until cancelled: then every lane is left in order."""
        calm()
        polling = asyncio.create_task(self._membership.run(), name="membership")
        looks = asyncio.create_task(self._look_around(), name="looks")
        try:
            await self._watch(polling, looks)
        finally:
            for partition, lane in self._lanes.items():
                if partition in self._taken:
                    lane.leave()  # now, not when the polling thread comes round to it
            self._membership.stop()
            await asyncio.wait([polling])
            looks.cancel()
            for task in self._tasks.values():
                task.cancel()
            await self._senders.aclose()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, *own: asyncio.Task[None]) -> None:
        """Ends with the first task that fails: one lane's mistake ends the process, and the next owner recovers."""
        while True:
            tasks = {*own, *self._tasks.values()}
            done, _ = await asyncio.wait(tasks, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            if own[0] in done:
                return
            self._tasks = {partition: task for partition, task in self._tasks.items() if not task.done()}

    async def assigned(self, partitions: set[int]) -> None:
        """These are the lanes now. One that was left a moment ago and comes back keeps its state."""
        for partition in self._lanes.keys() - partitions:
            self._lanes.pop(partition).abandon()
            self._refused.pop(partition, None)
        log.info("lanes_assigned", partitions=sorted(partitions))
        for partition in sorted(partitions):
            lane, fresh = self._lanes.get(partition), False
            if lane is None:
                lane, fresh = Lane(partition, self._shop), True
                self._lanes[partition] = lane
            self._tasks[partition] = asyncio.create_task(self._work(lane, fresh=fresh), name=f"lane-{partition}")

    async def revoked(self) -> None:
        """Leave every lane in order; what could not be left is forgotten."""
        working = {partition: task for partition, task in self._tasks.items() if not task.done()}
        for partition in working:
            if partition in self._taken:
                self._lanes[partition].leave()
            else:
                working[partition].cancel()
        if working:
            await asyncio.wait(working.values(), timeout=self._leave_seconds())
        for partition, task in working.items():
            if not task.done() or task.cancelled() or task.exception() is not None:
                task.cancel()
                self._lanes.pop(partition).abandon()
        self._untake(set(self._taken))
        self._tasks = {partition: task for partition, task in self._tasks.items() if not task.done()}

    async def lost(self) -> None:
        """The session was lost: the lanes belong to others, nothing here may be believed."""
        log.warning("lanes_lost", partitions=sorted(self._lanes))
        for task in self._tasks.values():
            task.cancel()
        for lane in self._lanes.values():
            lane.abandon()  # its calls that have not begun never do
        self._lanes.clear()
        self._tasks.clear()
        self._refused.clear()
        self._untake(set(self._taken))

    def deliver(self, partition: int, records: list[Record]) -> set[str]:
        """Records for a lane that is taken; for any other they are dropped, their offsets are not committed."""
        lane = self._lanes.get(partition)
        if lane is None or partition not in self._taken:
            return set()
        return lane.receive(records)

    async def _work(self, lane: Lane, *, fresh: bool) -> None:
        """Take, work, and take anew after what a new producer mends; returns when the lane was left."""
        while True:
            try:
                offsets = await (lane.take() if fresh else lane.resume())
                self._taken.add(lane.partition)
                self._remind_of_leases(lane.partition)
                await self._join_cancels(lane)
                metrics.LANES.set(len(self._taken))
                self._membership.fetch(lane.partition, offsets)
                await lane.work()
                return
            except Fenced as error:
                metrics.FENCED.inc()
                log.warning("lane_fenced", partition=lane.partition, error=str(error))
                pause = FENCED_PAUSE_SECONDS
            except Broken as error:
                log.warning("lane_broken", partition=lane.partition, error=str(error))
                pause = RETAKE_SECONDS
            except LaneRefused as error:
                self._refused[lane.partition] = str(error)
                metrics.HALTED_LANES.set(len(self._refused))
                log.error("lane_refused", partition=lane.partition, reason=str(error))
                return
            fresh = True
            self._untake({lane.partition})
            lane.close()
            self._membership.forget(lane.partition)
            if lane.leaving:  # what it could not commit is not known here: whoever takes it next reads the journal
                self._lanes.pop(lane.partition, lane).abandon()
                return
            await asyncio.sleep(pause)

    async def _join_cancels(self, lane: Lane) -> None:
        """Links may have come that the journal knows not. Nothing of the lane is called yet; other lanes go on."""
        for count, person_key in enumerate(lane.state.cancelled_recipients()):
            if count % CANCELS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if lane.leaving:
                return
            if uncancelled(lane.state, self._shop.around, person_key):
                lane.changed(cancel_elsewhere, person_key)

    def _remind_of_leases(self, partition: int) -> None:
        """A lane knows from its journal what it spent, not what it was granted and never used: that goes back."""
        for portfolio_id, lease in self.leases.leases.by_portfolio.items():
            for home in lease.homes:
                if partition_for(home, self._settings.partitions) == partition:
                    self._lease_changed((portfolio_id, home))

    def _untake(self, partitions: set[int]) -> None:
        self._taken -= partitions
        metrics.LANES.set(len(self._taken))

    def _leave_seconds(self) -> float:
        return self._governance.dispatch.request_timeout_seconds + LEAVE_SECONDS

    def _fresh(self) -> bool:
        return self.denials.table.fresh(FRESH_SECONDS) and self.number_states.table.fresh(FRESH_SECONDS)

    def _denied(self, person_key: str) -> None:
        """Somebody said no: what waits for them in any lane ends in its next round, not when its turn comes. A lane
        that is being recovered, in a thread, looks at everything in its first round anyway."""
        for lane in [self._lanes[partition] for partition in self._taken & self._lanes.keys()]:
            waiting = [message for message in lane.state.recipients.of(person_key) if message.waiting]
            for message in waiting:
                lane.state.unplaced.add(message)
            if waiting:
                lane.wake()

    def _linked(self, names: list[str]) -> None:
        """These are one person's: what was cancelled for them under one name is cancelled under all of them."""
        for lane in [self._lanes[partition] for partition in self._taken & self._lanes.keys()]:
            for name in names if lane.state.cancels else ():
                if (CANCEL, name) in lane.state.cancels:
                    lane.changed(cancel_elsewhere, name)

    def _number_changed(self, number: str) -> None:
        facts = self._facts.get(number)
        lane = None if facts is None else self._lanes.get(partition_for(facts.home, self._settings.partitions))
        if lane is not None:
            lane.changed(number_changed, number)

    def _template_changed(self, template: str) -> None:
        """What waits for it may go, or never will: in every lane in which a number of its account is at home; also in
        one that is being recovered, or was left a moment ago and may come back with its state."""
        for partition in self._partitions_of_account.get(template.partition("/")[0], ()):
            if partition in self._lanes:
                self._lanes[partition].changed(template_changed, template)

    def _lease_changed(self, key: Key) -> None:
        """There may be places for what waits for some."""
        lane = self._lanes.get(partition_for(key[1], self._settings.partitions))
        if lane is not None:
            lane.changed(lease_changed, "/".join(key))

    def _bar(self, number: str, outcome: Refused, since: float | None = None) -> None:
        """Before the next call of any lane here can start: what shares the token or account that was refused stops."""
        for each in sharing(self._facts, number, outcome.policy):
            lane = self._lanes.get(self._facts[each].partition) if each in self._facts else None
            if lane is not None:
                lane.bar(each, Bar(outcome, own=each == number, since=since))

    def _token_lost(self, _: str) -> None:
        for number in self._senders.refreshed(self._facts):
            self._number_changed(number)

    def follow(self, policy: Governance) -> None:
        """The policy file says something else: the lanes go by it from their next round on."""
        self._governance = policy
        self._shop.around.policy = policy_of(policy)
        self._shop.around.revision += 1
        self._senders.follow(policy)
        self._bring_limits_up_to_date()

    def _bring_limits_up_to_date(self) -> None:
        """After a change of the policy, and while the numbers grow older."""
        changed = bring_up_to_date(self._facts, self._governance, self._shop.clock.now())
        if changed:
            log.info("limits_changed", numbers=changed, policy_version=self._governance.version)
            self._shop.around.revision += 1
        for lane in self._lanes.values() if changed else ():
            lane.wake()

    async def _look_around(self) -> None:
        """Queue states about once a second while they change, room in inboxes, tokens that came or went,
        numbers that grew older."""
        looks = 0
        while True:
            await asyncio.sleep(QUEUE_STATE_SECONDS)
            looks += 1
            if looks % int(TOKEN_LOOK_SECONDS / QUEUE_STATE_SECONDS) == 0:
                self._token_lost("")
                self._bring_limits_up_to_date()
                await self._senders.close_retired()
            await self._show_queues(looks)

    async def _show_queues(self, looks: int) -> None:
        """Another lane is first each time, so that none is always left over."""
        lanes, left = sorted(self._taken), MOST_QUEUE_STATES
        first = looks % max(1, len(lanes))
        for partition in [*lanes[first:], *lanes[:first]]:
            lane = self._lanes.get(partition)
            if lane is None:
                continue  # lost while the states of another were written
            emissions = lane.queue_states(left)
            left -= len(emissions)
            if emissions:
                await self._emitter.write(emissions)
