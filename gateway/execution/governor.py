"""The governor decides how many requests of all sites run at the same time.

**The problem.** Python threads that compute at the same time fight for the GIL, and the fight costs
more than the work: ten threads that compute answer fewer requests than one. But with one thread
alone, a view that sleeps or waits for a database holds up everybody. So only few threads may run
while they compute, and many may run as soon as they are found to be blocked.

**Lanes.** A request runs in one of three lanes:

- *fast*: it computes, and is expected to be done soon. One at a time.
- *long*: it has used more than a quantum of CPU, or is expected to. One at a time, beside the
  fast one, so that what is quick does not wait behind what is not.
- *blocked*: it was found blocked, or is expected to block. Such requests take no time from others,
  so they are not counted; only the limits of the site and of the process bound their number.

**Finding out.** A thread that waits for the GIL wakes up each switch interval, and its CPU clock
moves; the clock of a thread that is blocked stands still. So a clock that did not move for longer
than a switch interval means blocked, also while others saturate the GIL, unless the thread waits
for a processor (`gateway.execution.clocks`). `Governor.tick`, called every few milliseconds while
requests run, reads the clocks and moves requests between lanes, which frees their places. The share
of CPU time in wall time would not tell, because threads that wait for the GIL look idle, too.

**Expecting.** The lane of a new request is chosen from two moving averages of its route: the CPU
time, and how often it was blocked. Without them each sleeping request would occupy the fast lane
until it is found out. The first few requests of a route count equally, so that the second request
profits from the first. Of a route of which none has ended, what the running ones are found to do is
expected of those that wait. A route goes to the long lane above a quantum and comes back well below
it, so that a route whose CPU time is close to the quantum does not change lanes all the time.

**Fairness.** Within a lane the site that has used the least CPU goes first. A request is charged
while it runs, because it may have no end, and also for the time in which it was blocked and kept
the fast lane from others. In the fast lane, what the next request of a site is expected to use is
added twice. So a short request does not wait for those of all sites that have used a little less,
and a longer one waits, for each other site, no longer than twice its own time. A site whose turn
has come keeps it for a slice, as long as it has more to run: its code and its data are in the
caches of the processor, which makes the next request cheaper. A site that had nothing to do gets no
credit for that: it starts from what the busy sites have used.

**Shares.** A request that has parked with connections of its site still counts against the limits
until it has come back, so that clients who do not read cannot use up more of them than there are
places. A site has one limit for all of its generations, of which a new one has a part in any case:
code that hangs does not keep out the code that mends it. No site gets the last eighth of all
places, and no generation the last of those that its site may have, also where the limit of the site
is higher than that. What is *set aside*, because it hangs, does not count any more; there is a
bound to that.

**The switch interval.** While a long request runs, others get the GIL from it after 0.5 ms instead
of Python's 5: quick requests are then answered ten times as fast. Switching costs time, so the
interval is short only then.

**A crowd.** When requests of the fast lane wait for each other, no long one runs beside them and
none of the last few was tiny, the thread has enough to do. If the event loop took the GIL from it
to bring more requests, everybody would be slower. So the loop may rest for a while (`crowded`).

Nothing here knows of HTTP, of what threads do or of asyncio. `submit`, `withdraw` and `tick` are
called by the event loop, `began` and `finished` by the threads; the lock is held for microseconds.
Where the system has no CPU clocks of other threads (macOS), nothing can be found out, and all
requests run in the blocked lane, as in a pool of threads.
"""

from __future__ import annotations

import heapq
import math
import sys
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final, Protocol, TypeAlias

from gateway.errors import GatewayError
from gateway.execution.clocks import Clocks, SystemClocks

QUANTUM: Final = 10_000_000
"""Nanoseconds of CPU that a request of the fast lane may use."""
_BACK_TO_FAST: Final = 0.6
"""The share of a quantum below which a route leaves the long lane."""
_OFTEN_BLOCKED: Final = 0.5
"""The average of having been blocked above which a route goes to the blocked lane."""
_AHEAD: Final = 2
"""The factor by which the expected CPU of a request of the fast lane counts before it has run."""
_SLICE: Final = 5_000_000
"""Nanoseconds of CPU for which a site keeps its turn in the fast lane."""
_CROWD: Final = 2
"""The number of waiting requests of the fast lane from which on there may be a crowd."""
_TINY: Final = 500_000
"""Nanoseconds of CPU below which a request is tiny: several times the event loop's part of it."""
_NONE_TINY: Final = 8
"""The number of requests of the fast lane, one after the other, that were not tiny in a crowd."""
_ALPHA: Final = 0.2
"""Weight of the newest request in the moving averages."""
_ROUTES: Final = 256
"""Routes that are remembered for each site; the one that was used least recently goes first."""
_SHORT_INTERVAL: Final = 0.0005
_LONGEST: Final = 1_000_000_000
"""Nanoseconds of CPU for which a request keeps the place of the long lane from others."""
_THREAD_WITHIN: Final = 0.05
"""Seconds after which a request that still has no thread gives its place to others."""
_STALE: Final = 1.0
"""Seconds without a look after which the holder of the fast lane should have lost it."""
_PART: Final = 8
"""One part in so many of the places of a site is kept for each new generation, and one in so many
of all places for other sites."""


_NEXT: Final = 16
"""One part in so many of the places of a site is kept from a generation for the next one."""


class Lane(IntEnum):
    """The lane in which a request runs or waits; the module tells what they are for."""

    FAST = 0
    LONG = 1
    BLOCKED = 2


_LANES: Final = tuple(Lane)
"""To go through an enumeration costs several times as much, and this is done for each request."""


class OverloadedError(GatewayError):
    """The queue of the site is full."""

    status = 503


class Work(Protocol):
    """Something that the governor admits."""

    def start(self, lane: Lane) -> None:
        """Begin on a thread, without waiting for it; a second call does nothing.

        The lock of the governor is not held. Never raises: what cannot begin has to call
        `Governor.finished`.
        """


class Route:
    """The averages of one route."""

    __slots__ = ("blocked", "cpu", "long", "weight")

    def __init__(self) -> None:
        self.weight = 1.0
        self.cpu = 0.0
        self.blocked = 0.0
        self.long = False

    def expect(self) -> Lane:
        if self.long:
            return Lane.LONG
        return Lane.BLOCKED if self.blocked > _OFTEN_BLOCKED else Lane.FAST

    def suspect(self, lane: Lane) -> bool:
        """Expect that lane if nothing is known yet; tell whether that is new."""
        if self.weight < 1 or self.expect() is lane:
            return False
        self.long, self.blocked = lane is Lane.LONG, float(lane is Lane.BLOCKED)
        return True

    def learn(self, cpu: int, blocked: bool) -> None:
        self.cpu += (cpu - self.cpu) * self.weight
        self.blocked += (blocked - self.blocked) * self.weight
        # The plain mean of the first few: nothing else is known of a new route.
        self.weight = max(_ALPHA, self.weight / (1 + self.weight))
        self.long = self.cpu > QUANTUM * (_BACK_TO_FAST if self.long else 1)


class Share:
    """The places that all generations of one site have together."""

    __slots__ = ("__weakref__", "taken")

    def __init__(self) -> None:
        # The requests that run and are not aside, and those that have parked and still count.
        self.taken: set[Ticket] = set()


class Account:
    """The account of one generation, of whose requests at most ``limit`` run and ``queue`` wait.

    Generations of one site have the same ``share``; together they keep to the limit, too.
    """

    def __init__(self, limit: int, queue: int, share: Share | None = None) -> None:
        self.limit = limit
        self.queue = queue
        self.share = share or Share()
        self.reserve = max(1, limit // _PART)
        # CPU in nanoseconds; raised to that of the others after the site had nothing to do.
        self.used = 0.0
        self.waiting: tuple[deque[Ticket], ...] = tuple(deque() for _ in Lane)
        # Whether it is in the governor's queue of the lane.
        self.queued = [False for _ in Lane]
        self._routes: OrderedDict[str, Route] = OrderedDict()

    @property
    def taken(self) -> int:
        """The number of its requests that have a place of its site."""
        return [ticket.account for ticket in self.share.taken].count(self)

    @property
    def idle(self) -> bool:
        """Tell whether none of its requests waits or has a place."""
        for ticket in self.share.taken:
            if ticket.account is self:
                return False
        return not any(self.waiting)

    @property
    def waits(self) -> int:
        """The number of requests that wait."""
        fast, long, blocked = self.waiting
        return len(fast) + len(long) + len(blocked)

    def route(self, name: str) -> Route:
        """Return the averages of a route of the site."""
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = Route()
            if len(self._routes) > _ROUTES:
                self._routes.popitem(last=False)
        else:
            self._routes.move_to_end(name)
        return route


class _Stage(Enum):
    NEW = auto()
    WAITING = auto()
    RUNNING = auto()
    OVER = auto()


class Ticket:
    """One request of a site, from one admission to its end.

    ``held`` is the ticket of before, if the request has parked and that has gone on to count.
    """

    __slots__ = (
        "account",
        "blocked",
        "clock",
        "cpu",
        "held",
        "lane",
        "mark",
        "moved",
        "route",
        "stage",
        "start",
        "started",
        "work",
    )

    def __init__(self, account: Account, route: Route, held: Ticket | None = None) -> None:
        self.account = account
        self.route = route
        self.held = held
        self.stage = _Stage.NEW
        self.started = False
        self.lane = Lane.BLOCKED
        self.work: Work | None = None
        self.blocked = False
        self.clock = 0
        # Readings of the CPU clock: the first, the last, and the one from which a quantum counts.
        self.start = self.cpu = self.mark = 0
        self.moved = 0.0

    @property
    def waits(self) -> bool:
        """Tell whether its turn has not come yet."""
        return self.stage is _Stage.WAITING

    @property
    def runs(self) -> bool:
        """Tell whether its turn has come and its work has neither ended nor parked."""
        return self.stage is _Stage.RUNNING


_Entry: TypeAlias = tuple[float, int, Account]
"""A site in the queue of a lane: its turn when it was queued, a number, the site."""


@dataclass(frozen=True, slots=True)
class Places:
    """The number of requests that run with a place, are held, are set aside, and wait."""

    running: int
    held: int
    aside: int
    waiting: int


class Governor:
    """The governor of a process. At most ``budget`` requests of all sites run at the same time."""

    def __init__(self, budget: int, clocks: Clocks | None = None) -> None:
        self.budget = budget
        self._clocks = clocks or SystemClocks()
        self.sees_blocked = self._clocks.own()[0] != 0
        """Tells whether blocked requests can be found; false where threads have no CPU clocks."""
        self._lock = threading.Lock()
        # The requests that were admitted and have not been started yet.
        self._admitted: deque[Ticket] = deque()
        # The requests that have a place, and those that run without one. These are sets, because
        # a change is made once more after an exception of a site has hit a thread in between.
        # Of those with a place, some do not run: they are held.
        self._taken: set[Ticket] = set()
        self._aside: set[Ticket] = set()
        # The places that one site may have, and those that one generation may have.
        self._most = max(1, budget - math.ceil(budget / _PART))
        self._most_of_one = max(1, self._most - max(1, self._most // _NEXT))
        # The holders of the one place of the fast lane and of the one of the long lane.
        self._places: list[Ticket | None] = [None, None]
        # For each lane, the sites with waiting requests, ordered by their turn when queued.
        self._queues: tuple[list[_Entry], ...] = tuple([] for _ in Lane)
        # The requests that wait in each lane, and those of them that were held.
        self._waits: tuple[set[Ticket], ...] = tuple(set() for _ in Lane)
        self._returning: set[Ticket] = set()
        self._order = 0
        self._floor = 0.0
        # The site whose turn it is in the fast lane, and its CPU used at which the turn ends.
        self._holder: Account | None = None
        self._end_of_turn = 0.0
        # The number of requests of the fast lane since the last tiny one.
        self._none_tiny = 0
        self._interval = sys.getswitchinterval()
        self._short = False

    def submit(self, ticket: Ticket, work: Work) -> None:
        """Start ``work`` now or when its turn comes; raises `OverloadedError` if too many wait."""
        account = ticket.account
        with self._lock:
            ticket.work = work
            if self.sees_blocked:
                ticket.lane = ticket.route.expect()
            if account.idle:
                account.used = max(account.used, self._floor)
            if self._may_run(ticket):
                self._run(ticket)
            elif account.waits < account.queue:
                self._enqueue(ticket)
                return
            else:
                raise OverloadedError
        work.start(ticket.lane)
        ticket.started = True

    def withdraw(self, ticket: Ticket) -> bool:
        """Give up a request if it still waits; return whether it did."""
        with self._lock:
            if ticket.stage is not _Stage.WAITING:
                return False
            ticket.stage = _Stage.OVER
            ticket.work = None
            self._dequeue(ticket)
            if ticket.held is not None:
                self._release(ticket.held)
            return True

    def hurry(self, ticket: Ticket, work: Work) -> bool:
        """Start one that waits, or was refused, at once; tell whether it did.

        For what has begun, and now has to end.
        """
        with self._lock:
            if ticket.stage is _Stage.WAITING:
                self._dequeue(ticket)
            elif ticket.stage is not _Stage.NEW:
                return False
            ticket.work = work
            ticket.lane = Lane.BLOCKED
            self._run(ticket)
        work.start(ticket.lane)
        ticket.started = True
        return True

    def set_aside(self, ticket: Ticket) -> bool:
        """Let a request that hangs count no more; tell whether it could be done.

        It cannot be for more of them than the budget: their threads exist all the same.
        """
        with self._lock:
            if ticket.stage is not _Stage.RUNNING or len(self._aside) >= self.budget:
                return False
            self._aside.add(ticket)
            self._count(ticket, False)
            self._give_up_place(ticket)
            ticket.lane = Lane.BLOCKED
            self._admit_waiting()
        self._start()
        return True

    def running(self) -> list[Work]:
        """Return the work that has a place or was set aside, and has not ended."""
        with self._lock:
            return [ticket.work for ticket in self._running() if ticket.work is not None]

    def holders(self) -> list[Ticket]:
        """Return the tickets that have a place of whatever kind, or were set aside."""
        with self._lock:
            return list({*self._taken, *self._aside, *filter(None, self._places)})

    def overstays(self) -> Ticket | None:
        """Return who has the fast lane and was not looked at by `tick` for a second.

        `tick` moves to another lane what is blocked or computes for long.
        """
        ticket = self._places[Lane.FAST]
        stale = ticket is not None and self._clocks.now() - ticket.moved > _STALE
        return ticket if stale else None

    @property
    def places(self) -> Places:
        """The number of requests of each kind."""
        with self._lock:
            aside = len(self._aside)
            running = len(self._running()) - aside
            held = len(self._taken) - running
            return Places(running, held, aside, sum(map(len, self._waits)))

    def close(self) -> None:
        """Put back the switch interval of the process."""
        with self._lock:
            self._shorten(False)

    @property
    def crowded(self) -> bool:
        """Tell whether the fast lane has enough to do and nothing is urgent. For any thread."""
        fast, long = self._places
        busy = fast is not None and len(self._waits[Lane.FAST]) >= _CROWD
        return busy and long is None and self._none_tiny >= _NONE_TINY

    def began(self, ticket: Ticket) -> None:
        """Note that the work begins now, on the calling thread."""
        ticket.moved = self._clocks.now()
        ticket.clock, cpu = self._clocks.own()
        ticket.start = ticket.cpu = ticket.mark = cpu

    def finished(self, ticket: Ticket, *, holds: bool = False) -> None:
        """Note that the work has ended or parked, on the calling thread. Starts who is next.

        If it ``holds``, its place still counts, until the ticket that is made of it begins. A
        second call has no effect.
        """
        with self._lock:
            if ticket.stage is _Stage.RUNNING:
                self._end(ticket, holds)
            self._admit_waiting()
        self._start()

    def tick(self) -> float | None:
        """Look at all that run; return the seconds until the next look, or ``None`` for no more."""
        now = self._clocks.now()
        still = 1.2 * sys.getswitchinterval() + 0.0002
        with self._lock:
            for ticket in self._taken:
                if ticket.stage is not _Stage.RUNNING:
                    continue
                if ticket.clock:
                    self._look_at(ticket, now, still)
                elif now - ticket.moved > _THREAD_WITHIN:
                    self._look_at_late(ticket)
            for ticket in self._aside:
                with suppress(OSError):
                    self._charge(ticket)
            self._admit_waiting()
            pause = self._pause()
        self._start()
        return pause

    # With the lock held

    def _running(self) -> list[Ticket]:
        running = [ticket for ticket in self._taken if ticket.stage is _Stage.RUNNING]
        return [*running, *self._aside]

    def _pause(self) -> float | None:
        if not any(ticket.stage is _Stage.RUNNING for ticket in self._taken):
            return None
        return 0.002 if self._places[Lane.LONG] or any(self._waits) else 0.01

    def _end(self, ticket: Ticket, holds: bool) -> None:
        account = ticket.account
        _, cpu = self._clocks.own()
        used = cpu - ticket.start if ticket.start else 0
        if ticket.start:
            account.used += cpu - ticket.cpu
        ticket.route.learn(used, ticket.blocked)
        if ticket.lane is Lane.FAST:
            self._none_tiny = 0 if used < _TINY else self._none_tiny + 1
        if self._aside:
            self._aside.discard(ticket)
        self._count(ticket, holds)
        self._give_up_place(ticket)
        if not holds:
            ticket.work = None
        ticket.stage = _Stage.OVER

    def _release(self, held: Ticket) -> None:
        """Let a ticket that was held count no more: the next one of its request takes over."""
        self._count(held, False)
        held.work = None

    def _count(self, ticket: Ticket, counts: bool) -> None:
        """Let a ticket count against the limits, or not; done twice is done once."""
        account = ticket.account
        if counts:
            self._taken.add(ticket)
            account.share.taken.add(ticket)
        else:
            self._taken.discard(ticket)
            account.share.taken.discard(ticket)

    def _look_at(self, ticket: Ticket, now: float, still: float) -> None:
        try:
            goes_on = self._charge(ticket)
        except OSError:
            return  # its thread has just ended
        if goes_on:
            ticket.moved = now
            used = ticket.cpu - ticket.mark
            if ticket.lane is not Lane.LONG:
                if used > QUANTUM:
                    self._move(ticket, Lane.LONG)
                    self._expect(ticket)
            elif used > _LONGEST and self._waits[Lane.LONG]:
                self._give_up_place(ticket)
        elif now - ticket.moved >= still:
            if ticket.lane is not Lane.BLOCKED and self._clocks.wants_processor(ticket.clock):
                ticket.moved = now  # other processes have the processors
                return
            ticket.blocked = True
            ticket.mark = ticket.cpu
            if ticket.lane is Lane.FAST:  # it has kept the place from others meanwhile
                ticket.account.used += (now - ticket.moved) * 1e9
            if ticket.lane is not Lane.BLOCKED:
                self._move(ticket, Lane.BLOCKED)
                self._expect(ticket)

    def _expect(self, found: Ticket) -> None:
        """Let those that wait for the fast lane, on a route of which no more is known, follow."""
        if not found.route.suspect(found.lane):
            return
        for ticket in tuple(found.account.waiting[Lane.FAST]):
            if ticket.route is found.route:
                self._dequeue(ticket)
                ticket.lane = found.lane
                self._enqueue(ticket)

    def _charge(self, ticket: Ticket) -> bool:
        """Charge its site with what a request has used; tell whether that is anything.

        Raises ``OSError`` as `Clocks.cpu` does.
        """
        cpu = self._clocks.cpu(ticket.clock)
        used = cpu - ticket.cpu
        ticket.account.used += used
        ticket.cpu = cpu
        return used > 0

    def _look_at_late(self, ticket: Ticket) -> None:
        if ticket.lane is not Lane.BLOCKED:
            self._move(ticket, Lane.BLOCKED)
        if not ticket.started:  # an exception hit the thread that was about to start it
            self._admitted.append(ticket)

    def _may_run(self, ticket: Ticket) -> bool:
        if ticket.held is None and not self._has_room(ticket.account):
            return False
        return ticket.lane is Lane.BLOCKED or self._places[ticket.lane] is None

    def _has_room(self, account: Account) -> bool:
        taken = len(account.share.taken)
        if taken >= self._most or len(self._taken) >= self.budget:
            return False
        if taken < account.limit and taken < self._most_of_one:
            return True
        return account.taken < min(account.reserve, self._most_of_one)

    def _run(self, ticket: Ticket) -> None:
        ticket.moved = self._clocks.now()
        account = ticket.account
        if ticket.held is not None:
            self._release(ticket.held)
        self._count(ticket, True)
        # What was used while nobody else wanted it is not held against a site later.
        self._floor = max(self._floor, account.used)
        if ticket.lane is Lane.FAST and not self._has_turn(account):
            self._holder, self._end_of_turn = account, account.used + _SLICE
        self._take_place(ticket)
        ticket.stage = _Stage.RUNNING

    def _move(self, ticket: Ticket, lane: Lane) -> None:
        self._give_up_place(ticket)
        ticket.lane = lane
        self._take_place(ticket)

    def _take_place(self, ticket: Ticket) -> None:
        """Take the place of its lane; if another has it, run beside it without a place."""
        lane = ticket.lane
        if lane is not Lane.BLOCKED and self._places[lane] is None:
            self._places[lane] = ticket
            if lane is Lane.LONG:
                self._shorten(True)

    def _give_up_place(self, ticket: Ticket) -> None:
        lane = ticket.lane
        if lane is not Lane.BLOCKED and self._places[lane] is ticket:
            self._places[lane] = None
            if lane is Lane.LONG and not self._waits[lane]:
                self._shorten(False)

    def _shorten(self, short: bool) -> None:
        if short is not self._short:
            self._short = short
            sys.setswitchinterval(_SHORT_INTERVAL if short else self._interval)

    def _enqueue(self, ticket: Ticket) -> None:
        ticket.stage = _Stage.WAITING
        self._waits[ticket.lane].add(ticket)
        if ticket.held is not None:
            self._returning.add(ticket)
        ticket.account.waiting[ticket.lane].append(ticket)
        if not ticket.account.queued[ticket.lane]:
            ticket.account.queued[ticket.lane] = True
            heapq.heappush(self._queues[ticket.lane], self._entry(ticket.account, ticket.lane))

    def _dequeue(self, ticket: Ticket) -> None:
        lane = ticket.lane
        self._waits[lane].discard(ticket)
        if self._returning:
            self._returning.discard(ticket)
        waiting = ticket.account.waiting[lane]
        if waiting and waiting[0] is ticket:
            waiting.popleft()
        elif ticket in waiting:
            waiting.remove(ticket)

    def _entry(self, account: Account, lane: Lane) -> _Entry:
        self._order += 1
        return self._turn(account, lane), self._order, account

    def _turn(self, account: Account, lane: Lane) -> float:
        if lane is not Lane.FAST:
            return account.used
        if self._has_turn(account):
            return -1.0  # before all others: none has used less than nothing
        return account.used + _AHEAD * account.waiting[lane][0].route.cpu

    def _has_turn(self, account: Account) -> bool:
        return account is self._holder and account.used < self._end_of_turn

    def _admit_waiting(self) -> None:
        for ticket in self._admitted:
            if ticket.stage is _Stage.WAITING:  # an exception hit the thread that admitted it
                self._dequeue(ticket)
                self._run(ticket)
        for lane in _LANES:
            if self._queues[lane]:
                self._admit_lane(lane)

    def _admit_lane(self, lane: Lane) -> None:
        queue = self._queues[lane]
        while queue and (lane is Lane.BLOCKED or self._places[lane] is None):
            entry = queue[0]
            account = entry[2]
            if not account.waiting[lane]:
                account.queued[lane] = False
                heapq.heappop(queue)
                continue
            ticket = self._next_of(account, lane)
            if ticket is None:
                found = self._with_room(lane)
                if found is None:
                    return
                entry, ticket = found
                account = entry[2]
            if self._turn(account, lane) <= entry[0]:  # else others have used less by now
                self._admitted.append(ticket)
                self._dequeue(ticket)
                self._run(ticket)
            if account.waiting[lane]:
                self._requeue(entry, lane)

    def _requeue(self, entry: _Entry, lane: Lane) -> None:
        """Give a site in the queue of a lane the turn that it has now."""
        queue, account = self._queues[lane], entry[2]
        if entry is queue[0]:
            heapq.heapreplace(queue, self._entry(account, lane))
        else:
            queue[queue.index(entry)] = self._entry(account, lane)
            heapq.heapify(queue)

    def _with_room(self, lane: Lane) -> tuple[_Entry, Ticket] | None:
        """Return whose turn it is of the sites that may run one more, and what it would run."""
        for entry in sorted(self._queues[lane]):
            if entry[2].waiting[lane] and (ticket := self._next_of(entry[2], lane)) is not None:
                return entry, ticket
        return None

    def _next_of(self, account: Account, lane: Lane) -> Ticket | None:
        """Return whose turn it is in a site; those that return have their places already."""
        waiting = account.waiting[lane]
        if self._has_room(account):
            return waiting[0]
        if not self._returning:
            return None
        return next((ticket for ticket in waiting if ticket.held is not None), None)

    # Without the lock

    def _start(self) -> None:
        """Start who was admitted, also whom another thread was kept from starting."""
        while self._admitted:
            try:
                ticket = self._admitted.popleft()
            except IndexError:
                return
            if (work := ticket.work) is not None:
                work.start(ticket.lane)
            ticket.started = True
