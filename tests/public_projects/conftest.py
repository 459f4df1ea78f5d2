"""The public projects, built, asked and compared: once for all tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ..integration.programs import Program, free_port, listens, plain_environ
from ..integration.servers import Gateway
from .comparison import Comparison, table
from .projects import PROJECTS, BuiltProject, build
from .visits import THREADS, Answer, Question, Visitor, ask_all

collect_ignore = ["projects"]

_TIMEOUT = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests longer: the first one builds and asks everything."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.fixture(scope="session")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """What came of each project.

    The gateway is asked between two runs of gunicorn, so what both of these answer did not change
    meanwhile, be it with the time, by a request or by the seed of the hashes.
    """
    folder = tmp_path_factory.mktemp("public")
    projects = {project.name: build(project, folder) for project in PROJECTS}
    with gunicorns(projects, folder, "before") as visitors:
        logins = log_in(visitors)
        before = crawl(visitors)
    with gateway(projects, folder) as visitors:
        logins_here = log_in(visitors)
        ours = ask_all(before, visitors)
    with gunicorns(projects, folder, "after") as visitors:
        logins_after = log_in(visitors)
        after = ask_all(before, visitors)
    results = {name: Comparison(built) for name, built in projects.items()}
    for question in before:
        results[question.site].add(question, before[question], ours[question], after[question])
    for name, result in results.items():
        login = Question(name, f"POST {result.built.project.login}", editor=True)
        result.add(login, logins[name], logins_here[name], logins_after[name])
    print("\n" + table(results))
    return results


@contextmanager
def gunicorns(
    projects: Mapping[str, BuiltProject], folder: Path, name: str
) -> Iterator[dict[str, Visitor]]:
    """One gunicorn for each project, in its own virtual environment."""
    visitors: dict[str, Visitor] = {}
    with ExitStack() as running:
        for built in projects.values():
            port = free_port()
            command = [built.venv / "bin/python", "-m", "gunicorn", "core.wsgi"]
            program = Program(
                [*command, "--threads", str(THREADS), "--bind", f"127.0.0.1:{port}"],
                folder=built.site.folder,
                environ=plain_environ(**built.site.entry["env"]),
                log=folder / f"{built.project.name}-{name}.log",
            )
            program.start(lambda port=port: listens(port))
            running.callback(program.stop)
            visitors[built.project.name] = Visitor(built.project, port)
        yield visitors


@contextmanager
def gateway(projects: Mapping[str, BuiltProject], folder: Path) -> Iterator[dict[str, Visitor]]:
    """One gateway for all of them."""
    entries = {built.project.name: built.site.entry for built in projects.values()}
    with Gateway(folder, entries) as running:
        yield {name: Visitor(built.project, running.port) for name, built in projects.items()}


def log_in(visitors: Mapping[str, Visitor]) -> dict[str, Answer]:
    """Log in to all sites, from as many threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(visitors, pool.map(Visitor.log_in, visitors.values()), strict=True))


def crawl(visitors: Mapping[str, Visitor]) -> dict[Question, Answer]:
    """Follow the links of all sites."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(Visitor.crawl, visitors.values()))
    return {question: answer for answers in found for question, answer in answers.items()}
