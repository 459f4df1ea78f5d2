"""Run Django's ``runtests.py`` as ``__main__`` and write the outcome of each test to a file.

``main.py runtests.py [ARGUMENTS…]``: the same for plain Python and for a namespace, and nothing
of the gateway's. ``$SUITE_OUTCOMES`` names the file of JSON lines; the first one says in which
world we are, the last one that nothing cut the run short.
"""

import contextlib
import os
import sys

import recorder  # type: ignore[import-not-found]

sys.argv = sys.argv[1:]
__file__ = sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(__file__))
# A folder of our own, as the threads of the gateway have one; two copies need it. Where the system
# refuses, or before Python 3.12, only one copy can be run at a time.
with contextlib.suppress(AttributeError, PermissionError):
    os.unshare(os.CLONE_FS)
os.chdir(sys.path[0])
recorder.write_world()
with open(__file__, "rb") as _file:
    _code = compile(_file.read(), __file__, "exec", dont_inherit=True)
try:
    # In the variables of this module: children of multiprocessing look for __main__.__file__.
    exec(_code, globals())
except SystemExit as _exit:
    recorder.write({"end": _exit.code or 0})
    raise
recorder.write({"end": 0})
