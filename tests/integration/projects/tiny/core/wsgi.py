"""The WSGI application. Tests control and count how it is loaded."""

import os
from pathlib import Path

from django.core.wsgi import get_wsgi_application

# A named pipe: whoever opens it waits until somebody opens the other end.
if gate := os.environ.get("GATE"):
    Path(gate).read_bytes()

with (Path(__file__).parents[1] / "loads.txt").open("a") as loads:
    loads.write("loaded\n")

application = get_wsgi_application()
