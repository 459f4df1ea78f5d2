"""Settings of one copy of the suite: ``tests/test_sqlite.py`` with a database of its own.

A test database in memory is one shared name for a process, so two copies need two names.
"""

import os

from test_sqlite import *  # type: ignore[import-not-found]  # noqa: F403

_copy = os.environ["SUITE_COPY"]
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "TEST": {"NAME": f"file:memorydb_{alias}_{_copy}?mode=memory&cache=shared"},
    }
    for alias in ("default", "other")
}
TEST_RUNNER = "recorder.Runner"
