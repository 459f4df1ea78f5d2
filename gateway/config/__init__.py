"""Read and check ``sites.json``, turn it into frozen values, and report all its faults at once.

A file is read in these steps: ``source`` turns the bytes into JSON. ``document`` has the pydantic
models that check names and types. ``resolve`` turns each site's entry into a ``SiteConfig``, and
checks what types cannot express (folders, hosts, variables). ``reading`` puts the sites together.
``faults`` has the words for what is wrong. ``lastgood`` keeps a copy of the last file without
faults. ``schema`` makes the JSON schema that editors use.
"""

from gateway.config.hosts import ADMIN_HOSTS
from gateway.config.lastgood import LastGood
from gateway.config.model import Config, FaultySite, SiteConfig
from gateway.config.reading import Memory, read_config, read_config_leniently

__all__ = [
    "ADMIN_HOSTS",
    "Config",
    "FaultySite",
    "LastGood",
    "Memory",
    "SiteConfig",
    "read_config",
    "read_config_leniently",
]
