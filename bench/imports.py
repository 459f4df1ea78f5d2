"""What running in a namespace costs: an import of a cached module, and Django's request loop.

    python bench/imports.py [--rounds 5]

The same script runs under plain Python and through ``python -m gateway.namespace``, in turn.
Medians; ratios are taken within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from samples import ENVIRON, ROOT, prepare

INSIDE = Path(__file__).parent / "inside" / "imports.py"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (site,) = prepare(Path(name), 1)
        rounds = [(plain(site), in_namespace(site)) for _ in range(options.rounds)]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {options.rounds} rounds\n"
    )
    print("| what | plain | namespace | ratio |\n|---|---|---|---|")
    for what in rounds[0][0]:
        one = statistics.median(figures[what] for figures, _ in rounds)
        other = statistics.median(figures[what] for _, figures in rounds)
        ratio = statistics.median(b[what] / a[what] for a, b in rounds)
        print(f"| {what} | {one:.3g} | {other:.3g} | {ratio:.2f} |")


def plain(site: Path) -> dict[str, float]:
    """The figures under plain Python."""
    return figures([sys.executable, str(INSIDE)], site)


def in_namespace(site: Path) -> dict[str, float]:
    """The figures in a namespace."""
    command = [sys.executable, "-m", "gateway.namespace", "--path", str(site)]
    for key, value in ENVIRON.items():
        command += ["--env", f"{key}={value}"]
    return figures([*command, str(INSIDE)], site)


def figures(command: list[str], site: Path) -> dict[str, float]:
    """What the script prints."""
    path = os.pathsep.join([str(site), str(ROOT)])
    environ = {**os.environ, **ENVIRON, "PYTHONPATH": path}
    outcome = subprocess.run(command, cwd=site, env=environ, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(outcome.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
