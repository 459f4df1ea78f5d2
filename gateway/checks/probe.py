"""The program of the scratch process of a check. It has two arguments, ``ANSWER`` and ``STACK``.

It loads one site as the gateway would, and writes a line of `Facts` to the pipe ``ANSWER`` after
each stage. So nothing is lost when the site ends the process or never returns. In that case, the
pipe ``STACK`` tells where the site was. The arguments are the numbers of file descriptors. The
request comes on standard input.

The code of the site runs with the rights of the user who starts the check, as in the gateway it
runs with the rights of the gateway. So check a site as the user that serves it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import os
import resource
import sys
import time
from dataclasses import replace
from typing import Any, Final

from gateway.backends.inprocess import InProcessBackend, InProcessCode
from gateway.checks import asking, observing
from gateway.checks.facts import (
    ASKING_SECONDS,
    UNLOADING_SECONDS,
    Facts,
    Request,
    Stage,
    Thread,
)
from gateway.django import connections, facts
from gateway.errors import LoadError
from gateway.execution.pool import Pool, Threads
from gateway.namespace import Namespace
from gateway.sites.reporting import Reporter
from gateway.sites.sources import Sources

_EXIT_SECONDS: Final = 5.0
"""Seconds that the exit functions of the site may take."""
_ASKERS: Final = 16
"""The number of threads that ask the databases of the site at the same time."""


class Probe:
    """One check of one site."""

    def __init__(self, request: Request, answer: int, stack: int) -> None:
        self._request = request
        self._answer = answer
        self._stack = stack
        version = ".".join(map(str, sys.version_info[:3]))
        self._facts = Facts(stage="starting", python=version)
        self._failure: LoadError | None = None

    async def run(self) -> None:
        """Go through all stages of the check."""
        async with InProcessBackend(threads=1, keep_failed=True) as backend:
            before = observing.Before()
            self._enter("loading", self._request.limit)
            generation = await self._load(backend)
            namespace = next(iter(Namespace.alive()), None)
            if namespace is not None:
                self._observe(namespace, before)
            if generation is not None and namespace is not None:
                self._enter("asking", ASKING_SECONDS)
                await self._ask(namespace)
                self._enter("unloading", UNLOADING_SECONDS)
                await self._unload(generation, namespace)
            self._enter("done", UNLOADING_SECONDS)

    def _enter(self, stage: Stage, limit: float) -> None:
        """Begin a stage: write the facts known so far, and limit the time of the stage.

        The process ends itself if the stage takes longer than ``limit`` seconds.
        """
        self._facts = replace(self._facts, stage=stage)
        _write(self._answer, self._facts.encode())
        # This is a thread in C, which works even if the code of the site blocks the interpreter.
        faulthandler.dump_traceback_later(limit, exit=True, file=self._stack)

    def _learn(self, **facts: Any) -> None:
        self._facts = replace(self._facts, **facts)

    async def _load(self, backend: InProcessBackend) -> InProcessCode | None:
        start = time.perf_counter()
        try:
            generation = await backend.load(self._request.site, 1, Sources())
        except LoadError as error:
            self._learn(loaded=False, reason=error.reason, traceback=error.traceback)
            self._failure = error  # its frames keep the namespace alive, which we still examine
            return None
        self._learn(loaded=True, seconds=round(time.perf_counter() - start, 3))
        return generation

    def _observe(self, namespace: Namespace, before: observing.Before) -> None:
        threads = observing.running_threads(namespace)
        self._learn(
            django=facts.version(namespace, loaded=self._facts.loaded is True),
            units=observing.units(namespace),
            needing_django=facts.native_code_that_needs_django(namespace),
            signals=observing.signals(namespace),
            patches=before.patches(namespace),
            changed=before.changed(),
            locales=observing.locales(namespace),
            threads=tuple(Thread(thread.name) for thread in threads),
        )

    async def _ask(self, namespace: Namespace) -> None:
        path = self._request.site.path.resolve()
        pool = Pool(_ASKERS)
        site = self._request.site
        threads = Threads(
            Reporter(site.name, site.env),
            pool,
            folder=path,
            end=functools.partial(connections.close, namespace),
        )
        project = asking.ask(namespace, self._request.hosts, threads)
        zone = project.time_zone if project is not None else None
        self._learn(
            # Again, because the drivers of databases are imported only when they are needed.
            units=observing.units(namespace),
            project=project,
            process_zone=observing.process_zone(),
            other_zone=zone is not None and observing.is_other_zone(zone),
            private_folder=threads.submit(os.getcwd).result() == str(path),
        )
        threads.shutdown(wait=False)
        pool.close()

    async def _unload(self, generation: InProcessCode, namespace: Namespace) -> None:
        threads = observing.running_threads(namespace)
        try:
            await asyncio.wait_for(generation.close(), _EXIT_SECONDS)
        except TimeoutError:
            self._learn(exit_hangs=True)
            return
        self._learn(threads=observing.outcome(threads, 1.0))


def main() -> None:
    """Carry out the request on standard input. Does not return."""
    answer, stack = (int(argument) for argument in sys.argv[1:])
    for descriptor in (answer, stack):
        os.set_inheritable(descriptor, False)
    faulthandler.enable(stack, all_threads=False)
    # A check looks for crashes, so a crash need not leave a core file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    request = Request.decode(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    asyncio.run(Probe(request, answer, stack).run())
    os._exit(0)  # threads of the site may never end, and nobody waits for them here


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]
