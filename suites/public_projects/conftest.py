"""The public projects, built, asked and compared: once for all tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.programs import Program, free_port, listens, plain_environ
from tests.integration.servers import Gateway

from .comparison import Comparison, table
from .projects import PROJECTS, BuiltProject, build
from .visits import THREADS, Answer, Question, Visitor, ask_all

collect_ignore = ["projects"]

_TIMEOUT = 3600
_FURTHER_RUNS = 6
# The order of a set of strings hangs on it.
_ONE_SEED = {"PYTHONHASHSEED": "0"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests longer: the first one builds and asks everything."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.fixture(scope="session")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """What came of each project.

    The gateway is asked between two runs of gunicorn, so what both of these answer did not change
    meanwhile, be it with the time or by a request.
    """
    folder = tmp_path_factory.mktemp("public")
    projects = {project.name: build(project, folder) for project in PROJECTS}
    results = {name: Comparison(built) for name, built in projects.items()}

    def remember(answers: Mapping[Question, Answer]) -> None:
        for question, answer in answers.items():
            results[question.site].gunicorn.setdefault(question, []).append(answer)

    with gunicorns(projects, folder) as visitors:
        remember(log_in(visitors))
        # Not these answers: the first visit fills caches, makes thumbnails and marks things read.
        questions = crawl(visitors)
        remember(ask_all(questions, visitors))
    with gateway(projects, folder) as visitors:
        for question, answer in (log_in(visitors) | ask_all(questions, visitors)).items():
            results[question.site].gateway[question] = answer
    with gunicorns(projects, folder) as visitors:
        remember(log_in(visitors) | ask_all(questions, visitors))
    for _ in range(_FURTHER_RUNS):
        # What hangs on the order of a set of classes, and so on addresses, is another thing in each
        # process. With two elements two processes agree every other time.
        if not (suspects := [one for result in results.values() for one in result.suspects()]):
            break
        print("\nasked again:", *suspects, sep="\n  ")
        concerned = {one.site: projects[one.site] for one in suspects}
        with gunicorns(concerned, folder) as visitors:
            logins = log_in(visitors)
            remember({one: logins.get(one) or visitors[one.site].ask(one) for one in suspects})
    print("\n" + table(results))
    return results


@contextmanager
def gunicorns(projects: Mapping[str, BuiltProject], folder: Path) -> Iterator[dict[str, Visitor]]:
    """One gunicorn for each project, in its own virtual environment."""
    visitors: dict[str, Visitor] = {}
    with ExitStack() as running:
        for built in projects.values():
            port = free_port()
            python = built.venv / "bin/python"
            command = [python, "-m", "gunicorn", "core.wsgi", "--no-control-socket"]
            program = Program(
                [*command, "--threads", str(THREADS), "--bind", f"127.0.0.1:{port}"],
                folder=built.site.folder,
                environ=plain_environ(**built.site.entry["env"], **_ONE_SEED),
                log=folder / f"{built.project.name}.log",
            )
            program.start(lambda port=port: listens(port))
            running.callback(program.stop)
            visitors[built.project.name] = running.enter_context(Visitor(built.project, port))
        yield visitors


@contextmanager
def gateway(projects: Mapping[str, BuiltProject], folder: Path) -> Iterator[dict[str, Visitor]]:
    """One gateway for all of them."""
    entries = {built.project.name: built.site.entry for built in projects.values()}
    with ExitStack() as running:
        port = running.enter_context(Gateway(folder, entries, _ONE_SEED)).port
        yield {
            name: running.enter_context(Visitor(built.project, port))
            for name, built in projects.items()
        }


def log_in(visitors: Mapping[str, Visitor]) -> dict[Question, Answer]:
    """Log in to all sites, from as many threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pool.map(Visitor.log_in, visitors.values()))


def crawl(visitors: Mapping[str, Visitor]) -> list[Question]:
    """Follow the links of all sites; returns what there is to ask."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [
            question for found in pool.map(Visitor.crawl, visitors.values()) for question in found
        ]
