"""``gateway check``: tell whether sites load, how they would be served, what they do to a process.

A check goes this way. ``scratch`` starts a process for one site. In this process, ``probe`` loads
the site as the gateway would, ``asking`` asks its Django, and ``observing`` finds out what the site
has changed in the process. The results come back as ``facts``. From these, ``loading``,
``serving`` and ``sharing`` make findings about the site, and ``versions`` about several sites
together, each with its remedy. ``report`` holds the result; ``table`` and ``document`` show it.
"""
