"""``gateway check``: whether sites load, how they would be served, what they do to a process.

The way of a check: ``scratch`` starts a process for one site; in it ``probe`` loads the site as
the gateway would, with ``asking`` for what its Django knows and ``observing`` for what became of
the process; what it found comes back as ``facts``. From these ``loading``, ``serving`` and
``sharing`` make findings about the site, ``versions`` those about sites beside each other, each
with its remedy. ``report`` holds the result, ``table`` and ``document`` show it.
"""
