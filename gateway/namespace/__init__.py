"""Namespaces: several Python programs in one process, each with its own modules.

>>> with installed():
...     shop = Namespace("shop", path=["/srv/shop"], environ={"TZ": "UTC"})
...     application = shop.import_module("core.wsgi").application

This package knows nothing of sites and HTTP, and of third-party libraries only what is in
``libraries``.
"""

from gateway.namespace.cwd import private_cwd
from gateway.namespace.environment import EnvironmentError_
from gateway.namespace.namespace import Namespace
from gateway.namespace.process import installed

__all__ = ["EnvironmentError_", "Namespace", "installed", "private_cwd"]
