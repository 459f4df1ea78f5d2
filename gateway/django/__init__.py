"""All that the gateway knows of the Django of a site that has been loaded.

Everything here works on the Django of a namespace. The gateway itself never imports Django, and a
site need not use it: the functions say what they do then.

``facts`` reads settings and versions, ``urls`` imports the URLconf, ``connections`` moves and
closes database connections, ``migrations`` compares the code with its databases, ``templates``
finds the files of templates, and ``probes`` hears of the exceptions of views.

What can be read from the source of a project before it is loaded is in ``config.discovery``.
"""
