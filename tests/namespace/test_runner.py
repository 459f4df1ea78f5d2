"""``python -m gateway.namespace``: a script in one namespace or several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gateway

from .venvs import make_venv
from .worlds import write

_ROOT = str(Path(gateway.__file__).parents[1])


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run it in ``folder`` with the arguments."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway.namespace", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": _ROOT, "SECRET": "of the process"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_script(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "app/run.py": "import beside, extra, os, sys\n"
            "print(__name__, beside.x, extra.y, sys.argv[1:], os.environ.get('SECRET'), "
            "os.environ['KEY'])",
            "app/beside.py": "x = 1",
            "more/extra.py": "y = 2",
        },
    )
    done = run(tmp_path, "--path", "more", "--env", "KEY=a=b", "app/run.py", "--x", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "__main__ 1 2 ['--x', '1'] None a=b\n"


def test_copies(tmp_path: Path) -> None:
    """Each in a namespace and a thread of its own, all at once."""
    write(
        tmp_path,
        {
            "run.py": "import os, sys, state, pathlib\nstate.seen.append(os.environ['N'])\n"
            "pathlib.Path(sys.argv[1]).write_text(' '.join(state.seen))\n"
            "sys.exit(int(os.environ['N']))",
            "state.py": "seen = []",
        },
    )
    done = run(tmp_path, "--copies", "3", "--env", "N={copy}", "run.py", "out-{copy}")
    assert done.returncode == 2, done.stderr
    assert [(tmp_path / f"out-{n}").read_text() for n in range(3)] == ["0", "1", "2"]


def test_how_a_script_ends(tmp_path: Path) -> None:
    for source, status, text in (
        ("", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("raise SystemExit(True)", 1, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("import sys; sys.exit([1])", 1, "[1]\n"),
        ("import sys; sys.exit(7)", 7, ""),
        ("import gone", 1, "ModuleNotFoundError: No module named 'gone'\n"),
        ("x = (", 1, "SyntaxError: '(' was never closed\n"),
    ):
        (tmp_path / "run.py").write_text(source)
        done = run(tmp_path, "run.py")
        assert done.returncode == status, (source, done.stderr)
        assert done.stderr.endswith(text) if text else done.stderr == ""


def test_what_is_registered_for_the_end_runs(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("import atexit\natexit.register(print, 'bye')\nprint('hello')")
    assert run(tmp_path, "run.py").stdout == "hello\nbye\n"


def test_an_environment(tmp_path: Path) -> None:
    make_venv(tmp_path / "venv", {"tea.py": "x = 1"})
    (tmp_path / "run.py").write_text("import sys, tea\nprint(sys.prefix, tea.x)")
    done = run(tmp_path, "--venv", "venv", "run.py")
    assert done.stdout == f"{tmp_path / 'venv'} 1\n"


def test_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("")
    make_venv(tmp_path / "old", {}, version="3.9")
    done = run(tmp_path, "--venv", "old", "run.py")
    assert done.returncode == 2 and "3.9" in done.stderr and "Traceback" not in done.stderr
    assert run(tmp_path, "--venv", "gone", "run.py").returncode == 2
    assert run(tmp_path).returncode == 2
    missing = run(tmp_path, "gone.py")
    assert missing.returncode == 1 and "gone.py" in missing.stderr
