"""Run Django's ``runtests.py`` as ``__main__`` and write the outcome of each test to a file.

``main.py RUNTESTS FILE``, with an argument in each line of ``FILE``: the same for plain Python and
for a namespace, and nothing of the gateway's. ``$SUITE_OUTCOMES`` names the file of JSON lines; the
first one says in which world we are, the last one that nothing cut the run short.
"""

import os
import sys

import recorder  # type: ignore[import-not-found]

with open(sys.argv[2]) as _file:
    sys.argv = [sys.argv[1], *_file.read().splitlines()]
__file__ = sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(__file__))
os.chdir(sys.path[0])
recorder.write_world()
if "SUITE_COMPANY" in os.environ:
    import company  # type: ignore[import-not-found]

    company.start()
with open(__file__, "rb") as _file:
    _code = compile(_file.read(), __file__, "exec", dont_inherit=True)
try:
    # In the variables of this module: children of multiprocessing look for __main__.__file__.
    exec(_code, globals())
except SystemExit as _exit:
    recorder.write({"end": _exit.code or 0})
    raise
recorder.write({"end": 0})
