"""The two worlds in which a program is run: plain Python, and a namespace in this process."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from gateway.namespace import Namespace

Files = Mapping[str, str | bytes]
ENVIRON = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/home/nobody", "LANG": "C.UTF-8"}
"""All that a program sees of an environment, unless it is given more."""


@dataclass
class Program:
    """Runs a main module beside some files and returns what it assigned to ``result``.

    ``result`` has to be fit for JSON. Warnings are errors in both worlds.
    """

    world: str
    folder: Path
    close: list[Callable[[], object]] = field(default_factory=list)

    def __call__(
        self,
        files: Files,
        main: str,
        *,
        environ: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        path: Sequence[str | Path] = (),
        venv: Path | None = None,
    ) -> Any:
        """Write ``files`` and ``main.py``, and run it with ``args`` and ``environ`` added.

        ``path`` are folders on ``sys.path`` behind that of the main module.
        """
        write(self.folder, files)
        script = self.folder / "main.py"
        script.write_text(dedent(main).strip() + "\n")
        environ = {**ENVIRON, **(environ or {})}
        run = self._run_plain if self.world == "plain" else self._run_in_namespace
        return run(script, environ, list(args), [str(entry) for entry in path], venv)

    def either(self, *, plain: Any, namespace: Any) -> Any:
        """What is expected where the two worlds differ by design."""
        return plain if self.world == "plain" else namespace

    def _run_plain(
        self,
        script: Path,
        environ: Mapping[str, str],
        args: list[str],
        path: list[str],
        venv: Path | None,
    ) -> Any:
        answer = self.folder / "result.json"
        with script.open("a") as file:
            lines = [
                "import json as _json, pathlib as _pathlib",
                f"_pathlib.Path({str(answer)!r}).write_text(_json.dumps(result))",
            ]
            # Not in children that multiprocessing starts: they run the file as "__mp_main__".
            file.write("\nif __name__ == '__main__':\n    " + "; ".join(lines) + "\n")
        python = str(venv / "bin" / "python") if venv else sys.executable
        added = {"PYTHONPATH": os.pathsep.join(path)} if path else {}
        done = subprocess.run(
            [python, "-s", "-W", "error", str(script), *args],
            env={**environ, **added},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(answer.read_text())

    def _run_in_namespace(
        self,
        script: Path,
        environ: Mapping[str, str],
        args: list[str],
        path: list[str],
        venv: Path | None,
    ) -> Any:
        namespace = Namespace(
            self.folder.name, path=[self.folder, *path], environ=environ, venv=venv
        )
        self.close.append(namespace.close)
        namespace.import_module("warnings").simplefilter("error")
        status = namespace.run_script(str(script), args)
        assert status == 0, f"the program ended with {status}"
        return json.loads(json.dumps(vars(namespace.modules["__main__"])["result"]))


def write(folder: Path, files: Files) -> None:
    """Write files into ``folder``; sources may be indented as a whole."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(dedent(content))


def load(namespace: Namespace, source: str) -> dict[str, Any]:
    """Run ``source`` as a new module of ``namespace``; returns the variables that it made."""
    module = ModuleType("probe")
    vars(module)["__builtins__"] = vars(namespace.modules["builtins"])
    namespace.modules["probe"] = module
    exec(compile(dedent(source), "<probe>", "exec"), vars(module))
    return vars(module)


def assert_it_goes(make: Callable[[], Namespace]) -> None:
    """Assert that closing what ``make`` returns raises nothing and that nothing keeps it alive."""
    namespace = make()
    assert namespace.close() == []
    gone = weakref.ref(namespace)
    code = weakref.ref(namespace._importer.bootstrap.__dict__["_find_spec"])
    del namespace
    gc.collect()
    assert gone() is None
    assert code() is None
