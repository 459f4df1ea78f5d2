from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby, pairwise

import pytest

from gateway.execution.governor import (
    QUANTUM,
    Account,
    Governor,
    Lane,
    OverloadedError,
    Places,
    Share,
    Ticket,
)

MS = 1_000_000


class Clocks:
    """Time that passes when the test says so: the wall's, and the CPU of each request."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.used: dict[int, int] = {}
        self.current = 1
        self.runnable: set[int] = set()

    def now(self) -> float:
        return self.seconds

    def own(self) -> tuple[int, int]:
        return self.current, self.used.setdefault(self.current, 1)

    def cpu(self, clock: int) -> int:
        return self.used[clock]

    def wants_processor(self, clock: int) -> bool:
        return clock in self.runnable


class Simulation:
    """Requests that compute or sleep as the test says, on threads that nobody has to wait for."""

    def __init__(self, budget: int = 100) -> None:
        self.clocks = Clocks()
        self.governor = Governor(budget, self.clocks)
        self.started: list[Request] = []
        self._numbers = iter(range(1, 1000))

    def request(self, account: Account, route: str = "/") -> Request:
        request = Request(self, next(self._numbers), account, route)
        self.governor.submit(request.ticket, request)
        return request

    def pass_time(self, milliseconds: float, *computing: Request) -> None:
        """In steps of the governor's; those that compute share the time."""
        for _ in range(int(milliseconds)):
            self.clocks.seconds += 0.001
            for request in computing:
                self.clocks.used[request.number] += MS // len(computing)
            self.governor.tick()


class Request:
    def __init__(self, world: Simulation, number: int, account: Account, route: str) -> None:
        self.world = world
        self.number = number
        self.ticket = Ticket(account, account.route(route))

    def start(self, lane: Lane) -> None:
        self.world.clocks.current = self.number
        self.world.governor.began(self.ticket)
        self.world.started.append(self)

    def end(self) -> None:
        self.world.clocks.current = self.number
        self.world.governor.finished(self.ticket)

    @property
    def runs(self) -> bool:
        return self in self.world.started


@pytest.fixture
def world() -> Iterator[Simulation]:
    before = sys.getswitchinterval()
    yield Simulation()
    sys.setswitchinterval(before)


@pytest.fixture
def site() -> Account:
    return Account(limit=50, queue=100)


def test_one_that_computes_runs_at_a_time(world: Simulation, site: Account) -> None:
    first, second, third = (world.request(site) for _ in range(3))
    world.pass_time(5, first)
    assert [each.runs for each in (first, second, third)] == [True, False, False]
    first.end()
    assert second.runs and not third.runs


def test_one_that_is_blocked_makes_room(world: Simulation, site: Account) -> None:
    requests = [world.request(site) for _ in range(5)]
    world.pass_time(50)
    assert all(request.runs for request in requests)


def test_one_that_waits_for_the_gil_is_not_taken_for_blocked(
    world: Simulation, site: Account
) -> None:
    first, second = world.request(site), world.request(site)
    for _ in range(9):
        world.pass_time(5)
        world.clocks.used[first.number] += 20_000  # it wakes up each switch interval
        world.governor.tick()
    assert not second.runs


def test_one_that_waits_for_a_processor_is_not_taken_for_blocked(
    world: Simulation, site: Account
) -> None:
    first, second = (world.request(site) for _ in range(2))
    world.clocks.runnable.add(first.number)
    world.pass_time(100)
    assert not second.runs
    world.clocks.runnable.clear()
    world.pass_time(20)
    assert second.runs


def test_one_that_takes_long_makes_room_beside_it_for_one(world: Simulation, site: Account) -> None:
    first, second, third = (world.request(site, route) for route in ("/a", "/b", "/c"))
    world.pass_time(QUANTUM / MS + 1, first)
    assert second.runs and not third.runs
    world.pass_time(2 * QUANTUM / MS + 2, first, second)  # now both are long
    assert third.runs


def test_routes_that_block_do_not_wait_for_each_other(world: Simulation, site: Account) -> None:
    for _ in range(4):
        request = world.request(site, "/sleep")
        world.pass_time(20)
        request.end()
    computing = world.request(site, "/compute")
    assert all(world.request(site, "/sleep").runs for _ in range(10))
    assert computing.runs and not world.request(site, "/compute").runs


def test_one_request_tells_what_a_new_route_is_like(world: Simulation, site: Account) -> None:
    first = world.request(site, "/sleep")
    world.pass_time(20)
    first.end()
    assert all(world.request(site, "/sleep").runs for _ in range(5))
    once = world.request(site, "/mostly-quick")
    world.pass_time(20)
    once.end()
    for _ in range(3):
        world.request(site, "/mostly-quick").end()
    assert world.request(site, "/mostly-quick").runs
    assert not world.request(site, "/mostly-quick").runs, "the exception is forgotten"


def test_routes_that_take_long_do_not_hold_up_quick_ones(world: Simulation, site: Account) -> None:
    for _ in range(5):
        request = world.request(site, "/burn")
        world.pass_time(30, request)
        request.end()
    burning = [world.request(site, "/burn") for _ in range(3)]
    assert [request.runs for request in burning] == [True, False, False]
    quick = world.request(site, "/quick")
    assert quick.runs
    quick.end()
    assert not burning[1].runs, "the place of the quick is not for them"


def test_a_route_near_the_quantum_does_not_change_lanes_all_the_time(
    world: Simulation, site: Account
) -> None:
    lanes = []
    for turn in range(40):
        request = world.request(site, "/near")
        world.pass_time(QUANTUM / MS + (1 if turn % 2 else -1), request)
        request.end()
        lanes.append(site.route("/near").long)
    assert sum(a != b for a, b in pairwise(lanes)) <= 1


def test_the_site_that_has_used_least_goes_first(world: Simulation) -> None:
    greedy, modest = Account(50, 100), Account(50, 100)
    first = world.request(greedy)
    waiting = [world.request(greedy) for _ in range(3)]
    world.pass_time(8, first)
    other = world.request(modest)
    first.end()
    assert other.runs or waiting[0].runs
    (other if other.runs else waiting[0]).end()
    assert other.runs, "eight milliseconds put the greedy one behind"


def test_one_that_runs_tells_what_those_that_wait_are_like(world: Simulation) -> None:
    asleep, modest = Account(50, 100), Account(50, 100)
    sleepers = [world.request(asleep, "/asleep") for _ in range(40)]
    page = world.request(modest)
    world.pass_time(10)
    assert page.runs
    assert all(sleeper.runs for sleeper in sleepers)
    endless = [world.request(asleep, "/endless") for _ in range(5)]
    page.end()
    for _ in range(3 * QUANTUM // MS):
        world.pass_time(1, *(loop for loop in endless if loop.runs))
    assert [loop.runs for loop in endless] == [True, False, False, False, False]


def test_who_is_found_blocked_is_charged_for_the_place(world: Simulation) -> None:
    asleep, modest = Account(50, 100), Account(50, 100)
    for _ in range(10):  # the route is known as quick
        world.request(asleep).end()
    sleepers = [world.request(asleep) for _ in range(20)]
    world.pass_time(1)
    page = world.request(modest)
    while not page.runs:
        world.pass_time(1)
    assert [sleeper.runs for sleeper in sleepers].count(True) <= 3


def test_what_never_ends_is_charged_as_it_goes_on(world: Simulation) -> None:
    endless, modest = Account(50, 100), Account(50, 100)
    loops = [world.request(endless, f"/{number}") for number in range(8)]

    def go_on(milliseconds: int) -> None:
        for _ in range(milliseconds):
            world.pass_time(1, *(loop for loop in loops if loop.runs))

    go_on(15)
    assert [loop.runs for loop in loops].count(True) == 2
    page = world.request(modest)
    while not page.runs:
        go_on(1)
    assert [loop.runs for loop in loops].count(True) == 2, "it comes before all that wait"


@pytest.mark.parametrize("queued", [0, 1], ids=["alone", "with others waiting"])
def test_idling_saves_up_no_credit(world: Simulation, queued: int) -> None:
    busy, idle = Account(50, 100), Account(50, 100)
    for _ in range(20):
        first, *others = [world.request(busy) for _ in range(1 + queued)]
        world.pass_time(5, first)
        for request in (first, *others):
            request.end()
    running = world.request(busy)
    late = [world.request(idle) for _ in range(10)]
    waiting = world.request(busy)
    running.end()
    for served, request in enumerate(late):
        if waiting.runs:
            break
        assert served < 9, "the site that was idle keeps the other from running"
        if request.runs:
            world.pass_time(5, request)
            request.end()


def learn(world: Simulation, site: Account, route: str, milliseconds: float) -> None:
    request = world.request(site, route)
    world.pass_time(milliseconds, request)
    request.end()


def test_a_short_one_does_not_wait_for_the_longer_ones_of_all_others(world: Simulation) -> None:
    sites = [Account(50, 100) for _ in range(6)]
    for site in sites:
        learn(world, site, "/template", 4)
        learn(world, site, "/tiny", 0)
    running = world.request(sites[0], "/template")
    world.pass_time(4, running)
    templates = [world.request(site, "/template") for site in sites[1:]]
    tiny = world.request(sites[0], "/tiny")
    running.end()
    assert tiny.runs
    assert not any(each.runs for each in templates)


def test_a_longer_one_waits_for_no_more_than_twice_its_time_of_each(world: Simulation) -> None:
    sites = [Account(50, 1000) for _ in range(4)]
    for site in sites:
        learn(world, site, "/template", 6)
        learn(world, site, "/small", 1)
    one, *others = sites
    running = world.request(others[0], "/small")
    waiting = world.request(one, "/template")
    crowd = [running, *(world.request(site, "/small") for _ in range(50) for site in others)]
    served = 0
    while not waiting.runs:
        served += 1
        each = next(each for each in crowd if each.runs)
        crowd.remove(each)
        world.pass_time(1, each)
        each.end()
    assert len(others) < served <= len(others) * (2 * 6 + 1)


def test_a_site_keeps_its_turn_for_a_slice(world: Simulation) -> None:
    one, other = Account(50, 100), Account(50, 100)
    running = world.request(one)
    queue = [world.request(site) for _ in range(12) for site in (other, one)]
    order: list[Account] = []
    while queue:
        world.pass_time(1, running)
        running.end()
        running = next(each for each in queue if each.runs)
        queue.remove(running)
        order.append(running.ticket.account)
    turns = [len(list(group)) for _, group in groupby(order)]
    assert turns == [4, 5, 5, 5, 3, 2], "five milliseconds each, with the one that ran first"


def test_a_turn_ends_with_the_last_request_of_the_site(world: Simulation) -> None:
    one, other = Account(50, 100), Account(50, 100)
    first = world.request(one)
    second, third = world.request(other), world.request(other)
    world.pass_time(1, first)
    first.end()
    late = world.request(one)
    world.pass_time(1, second)
    second.end()
    assert third.runs and not late.runs


def crowd(world: Simulation, site: Account, route: str, milliseconds: float) -> list[Request]:
    """Requests that wait for each other, after some of the route."""
    for _ in range(10):
        learn(world, site, route, milliseconds)
    return [world.request(site, route) for _ in range(4)]


def test_who_has_enough_to_do_is_a_crowd(world: Simulation, site: Account) -> None:
    requests = crowd(world, site, "/orm", 2)
    for left in (3, 2, 1, 0):
        assert world.governor.crowded is (left >= 2)
        running = requests.pop(0)
        world.pass_time(2, running)
        running.end()
    assert not world.governor.crowded


def test_those_who_gave_up_are_no_crowd(world: Simulation, site: Account) -> None:
    _, *others = crowd(world, site, "/orm", 2)
    for request in others:
        world.governor.withdraw(request.ticket)
    assert not world.governor.crowded


def test_where_something_is_tiny_there_is_no_crowd(world: Simulation, site: Account) -> None:
    learn(world, site, "/tiny", 0)
    requests = [*crowd(world, site, "/orm", 2), world.request(site, "/tiny")]
    requests += [world.request(site, "/orm") for _ in range(12)]
    crowded = []
    for request in requests:
        assert request.runs
        crowded.append(world.governor.crowded)
        world.pass_time(0 if request.ticket.route is site.route("/tiny") else 2, request)
        request.end()
    assert crowded == [True] * 5 + [False] * 8 + [True] * 2 + [False] * 2


def test_beside_a_long_one_there_is_no_crowd(world: Simulation, site: Account) -> None:
    first, *_ = crowd(world, site, "/orm", 2)
    world.pass_time(QUANTUM / MS + 1, first)
    assert not world.governor.crowded


def test_limits_of_the_site_and_of_the_process() -> None:
    world = Simulation(budget=5)
    small, other = Account(limit=2, queue=2), Account(limit=50, queue=100)
    requests = [world.request(small) for _ in range(3)]
    world.pass_time(30)
    assert [request.runs for request in requests] == [True, True, False]
    requests.append(world.request(small))
    with pytest.raises(OverloadedError):
        world.request(small)
    more = [world.request(other) for _ in range(5)]
    world.pass_time(60)
    assert sum(request.runs for request in more) == 3
    requests[0].end()
    assert sum(request.runs for request in (*requests, *more)) == 6


@pytest.mark.parametrize("budget", [3, 8, 80])
@pytest.mark.parametrize("limit", [8, 64, 1000])
def test_what_hangs_leaves_room_for_its_next_generation_and_for_others(
    budget: int, limit: int
) -> None:
    world, share = Simulation(budget), Share()
    hangs, mended = (Account(limit, 100, share) for _ in range(2))
    for _ in range(budget):
        world.request(hangs)
    world.pass_time(30)
    mending = [world.request(mended) for _ in range(budget)]
    world.pass_time(30)
    assert mending[0].runs
    other = world.request(Account(limit, 100))
    assert other.runs


def test_who_is_withdrawn_is_not_started(world: Simulation, site: Account) -> None:
    first, second, third = (world.request(site) for _ in range(3))
    assert not world.governor.withdraw(first.ticket), "it runs"
    assert world.governor.withdraw(second.ticket)
    assert not world.governor.withdraw(second.ticket)
    first.end()
    first.end()  # once more is no harm
    assert third.runs and not second.runs
    third.end()
    assert world.governor.places == Places(0, 0, 0, 0)


def test_the_switch_interval_is_short_while_a_long_one_runs(
    world: Simulation, site: Account
) -> None:
    before = sys.getswitchinterval()
    request = world.request(site)
    world.pass_time(QUANTUM / MS + 2, request)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    request.end()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_it_looks_often_only_when_there_is_reason(world: Simulation, site: Account) -> None:
    assert world.governor.tick() is None
    first = world.request(site)
    assert world.governor.tick() == 0.01
    world.request(site)
    assert world.governor.tick() == 0.002
    first.end()


def test_without_clocks_it_is_a_pool(site: Account) -> None:
    world = Simulation(budget=4)
    world.clocks.own = lambda: (0, 1)  # type: ignore[method-assign]
    world.governor = Governor(4, world.clocks)
    requests = [world.request(each) for each in (site, Account(50, 100)) for _ in range(3)]
    assert sum(request.runs for request in requests) == 4
    requests[0].end()
    assert sum(request.runs for request in requests) == 5
