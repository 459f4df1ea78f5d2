"""Many reloads under load: no request is lost, every old generation goes, and memory stays.

A few of them are a test; ``python -m suites.soak`` goes on for longer.

Reloads come in batches while visitors look at all sites. Between batches nobody does, until the
gateway has seen that all old generations are gone: it collects garbage in idle moments only, and
spaces that, so that few and large batches take less time.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.memory.figures import resident

from .actions import reload
from .cache import virtual_environment
from .servers import Gateway
from .services import PostgreSQL
from .sites import OTHER_DJANGO, BuiltSite, tiny_site
from .visitors import Visitors
from .waiting import until

BATCH: Final = 5
"""Reloads between two looks at the memory."""
SETTLED: Final = 20
"""Reloads after which memory should not grow any more."""
_PATIENCE: Final = 900.0

_NATIVE: Final = (
    f"django~={OTHER_DJANGO}.0",
    "cryptography~=45.0",
    "PyYAML~=6.0",
    "psycopg[binary,pool]~=3.2.0",
)
_VIEW: Final = '''

import atexit, psycopg, yaml
from cryptography.fernet import Fernet
from psycopg_pool import ConnectionPool


class Money:
    """Has a representation of its own in YAML and in PostgreSQL."""

    def __init__(self, text):
        self.text = text


class MoneyDumper(psycopg.adapt.Dumper):
    def dump(self, value):
        return value.text.encode()


class Loader(yaml.CSafeLoader):
    pass


yaml.add_constructor("!money", lambda loader, node: Money(node.value), Loader)
psycopg.adapters.register_dumper(Money, MoneyDumper)
pool = ConnectionPool(os.environ["DATABASE"], min_size=1, open=True)
atexit.register(pool.close)
fernet = Fernet(Fernet.generate_key())


def front(request):
    money = yaml.load("!money 12.50", Loader)
    with pool.connection() as connection:
        (text,) = connection.execute("select %s || ' EUR'", [money]).fetchone()
    sealed = fernet.decrypt(fernet.encrypt(text.encode())).decode()
    return JsonResponse({"site": os.environ["SITE"], "text": sealed})
'''


@dataclass
class Course:
    """What became of it: megabytes after each batch, by the number of reloads so far."""

    megabytes: dict[int, float] = field(default_factory=dict)
    answers: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """The part by which the last is above the first that counts."""
        settled = next((mb for n, mb in self.megabytes.items() if n >= SETTLED), None)
        first = settled or next(iter(self.megabytes.values()))
        return [*self.megabytes.values()][-1] / first - 1


def native_sites(folder: Path, postgres: PostgreSQL) -> list[BuiltSite]:
    """Two sites on one virtual environment, whose native packages know them."""
    venv = virtual_environment(_NATIVE)
    sites = []
    for name in ("ledger", "neighbour"):
        site = tiny_site(folder, name, DATABASE=postgres.create_database(name))
        views = site.folder / "core/views.py"
        views.write_text(views.read_text() + _VIEW)
        sites.append(BuiltSite(name, {**site.entry, "venv": str(venv)}))
    return sites


def soak(
    gateway: Gateway, site: BuiltSite, others: list[BuiltSite], reloads: int, batch: int = BATCH
) -> Course:
    """Reload ``site`` so many times while it and the ``others`` are looked at.

    Raises ``AssertionError`` as soon as the gateway says what holds an old generation.
    """
    course = Course()
    for done in range(batch, reloads + 1, batch):
        with ExitStack() as stack:
            visitors = [
                stack.enter_context(Visitors(gateway, visited, count=2))
                for visited in (site, *others)
            ]
            for _ in range(batch):
                answer = reload(gateway, site)
                assert answer.status_code == 200, answer.text
        course.answers += sum(each.answers for each in visitors)
        course.lost += [loss for each in visitors for loss in each.lost]
        generation = gateway.health()["sites"][site.name]["generation"]
        until(
            lambda generation=generation: _gone(gateway, site) >= set(range(1, generation)),
            f"the generations of {site.name} before {generation} are gone",
            patience=_PATIENCE,
        )
        course.megabytes[done] = resident(gateway.pid) / (1 << 20)
    return course


def _gone(gateway: Gateway, site: BuiltSite) -> set[int]:
    output = gateway.output
    held = re.findall(rf"{site.name}: generation \d+ is still in memory.*", output)
    assert not held, "\n".join(held)
    said = re.findall(rf"{site.name}: generation (\d+) is gone", output)
    return {int(number) for number in said}
