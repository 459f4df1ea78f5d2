"""Reload two kinds of sites under load, for an hour or so.

    python -m suites.soak [--reloads 200] [--batch 20]

What is looked at stands in ``tests/integration/soak.py``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

from tests.integration.servers import PROTOCOL, Gateway
from tests.integration.services import postgresql
from tests.integration.sites import wagtail_site
from tests.integration.soak import native_sites, soak

GROWTH: Final = 0.03
"""The part by which memory may grow all the same (`Course.growth`)."""


def main() -> None:
    """Soak a Wagtail site, and one with native packages beside another; print the courses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--only", choices=("wagtail", "native"))
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name, postgresql() as postgres:
        folder = Path(name)
        runs = {}
        if options.only != "native":
            runs["wagtail"] = [wagtail_site(folder)]
        if options.only != "wagtail":
            runs["native"] = native_sites(folder, postgres)
        for kind, (site, *others) in runs.items():
            home = folder / f"gateway of {kind}"
            home.mkdir()
            entries = {each.name: each.entry for each in (site, *others)}
            with Gateway(home, entries, options=PROTOCOL) as gateway:
                course = soak(gateway, site, others, options.reloads, options.batch)
            curve = ", ".join(f"{n}: {mb:.1f}" for n, mb in course.megabytes.items())
            print(f"{kind}: {course.answers} answers, {len(course.lost)} lost {course.lost[:3]}")
            print(f"  MB after reloads: {curve}; growth {course.growth:+.1%}", flush=True)
            failed = failed or bool(course.lost) or course.growth > GROWTH
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
