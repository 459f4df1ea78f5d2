"""A working directory for each thread, where the system lets it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gateway.namespace import private_cwd
from tests.folders import needs_folders

from .test_runner import run
from .worlds import write

pytestmark = needs_folders


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder, without links on the way."""
    return tmp_path.resolve()


def test_of_a_thread_and_the_threads_that_it_starts(private: Path) -> None:
    seen = []

    def work() -> None:
        private_cwd(private)
        inner = threading.Thread(target=lambda: seen.append(os.getcwd()))
        inner.start()
        inner.join()
        Path("note").write_text("relative")

    before = os.getcwd()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [str(private)]
    assert (private / "note").read_text() == "relative"
    assert os.getcwd() == before


def test_copies_of_a_script(private: Path) -> None:
    """Each goes into a folder of its own, and looks where it is when the other has gone, too."""
    write(
        private,
        {
            "run.py": "import os, pathlib, sys, time\n"
            "own, other = map(pathlib.Path, sys.argv[1:])\n"
            "os.chdir(own)\n"
            "(own / 'gone').touch()\n"
            "while not (other / 'gone').exists():\n"
            "    time.sleep(0.01)\n"
            "pathlib.Path('note').write_text(os.environ['N'])\n",
            "folder-0/run.txt": "",
            "folder-1/run.txt": "",
        },
    )
    (private / "other-0").symlink_to(private / "folder-1")
    (private / "other-1").symlink_to(private / "folder-0")
    folders = [str(private / "folder-{copy}"), str(private / "other-{copy}")]
    done = run(private, "--copies", "2", "--env", "N={copy}", "run.py", *folders)
    assert (done.returncode, done.stderr) == (0, "")
    for copy in "01":
        assert (private / f"folder-{copy}" / "note").read_text() == copy
