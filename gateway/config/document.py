"""The models of ``sites.json``: its keys and their types, with the texts that editors show.

These models check whatever can be checked from the file alone. They are strict: ``"true"`` is not a
boolean and ``1`` is not a string, because guessing hides mistakes.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.config.limits import DEFAULTS

# The name of a site becomes part of URLs, file names and database roles.
NAME_PATTERN: Final = r"^[a-z0-9](?:\.?[a-z0-9_-])*\.?$"
NAME_LENGTH: Final = 63
NAME_RULE: Final = (
    f"a name has up to {NAME_LENGTH} lower-case letters, digits, dots, hyphens and underscores, "
    "begins with a letter or digit, and has no two dots in a row"
)

_IDENTIFIER: Final = r"[A-Za-z_][A-Za-z0-9_]*"
WSGI_PATTERN: Final = rf"^{_IDENTIFIER}(?:\.{_IDENTIFIER})*(?::{_IDENTIFIER})?$"

SiteName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
# The names of variables that the operating system accepts, except those with white space.
VariableName = Annotated[str, StringConstraints(pattern=r"^[^=\s\x00]+$")]
Host = Annotated[str, StringConstraints(min_length=1)]
FileName = Annotated[str, StringConstraints(min_length=1)]
ProbePath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")]
Application = Annotated[str, StringConstraints(pattern=WSGI_PATTERN)]


def is_site_name(name: str) -> bool:
    """Tell whether a site can have this name."""
    return len(name) <= NAME_LENGTH and re.fullmatch(NAME_PATTERN, name) is not None


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,  # 1e999 is valid JSON, and Python reads it as infinity
    )


class LimitsEntry(_Strict):
    """The limits for the use of the machine by a site. Times are in seconds."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="How many requests of a site run at the same time; by default "
        f"{DEFAULTS.concurrency}. Few run while they compute, many while they wait for something.",
        examples=[16],
    )
    queue_length: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="How many requests of a site wait for their turn; the next is answered 503 at "
        f"once. By default {DEFAULTS.queue_length}.",
        examples=[100],
    )
    queue_wait: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="How long a request waits for its turn before it is answered 503; by default "
        f"{DEFAULTS.queue_wait:g}.",
        examples=[10],
    )
    request_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long a request may take until its response begins; then the client is "
        "answered 504, and the log says where the code is. `0` for no limit, by default "
        f"{DEFAULTS.request_timeout:g}.",
        examples=[60],
    )
    max_body: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="How many bytes the body of a request may have; a larger one is answered 413. "
        f"By default {DEFAULTS.max_body} (100 MB).",
        examples=[10485760],
    )
    body_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long the next 16 KB of the body of a request, or its end, may take to "
        "come; then the client is answered 408. `0` for no limit, by default "
        f"{DEFAULTS.body_timeout:g}.",
        examples=[10],
    )
    send_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long a client may take nothing of what waits to be sent to it; then its "
        f"connection is cut. `0` for no limit, by default {DEFAULTS.send_timeout:g}.",
        examples=[10],
    )
    max_header: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="How many bytes the headers of a request may have, names and values together; "
        "more are answered 431. `GATEWAY_MAX_HEAD` holds in any case.",
        examples=[8192],
    )
    load_timeout: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="How long the code of a site may take to load before that counts as failed; by "
        f"default {DEFAULTS.load_timeout:g}.",
        examples=[60],
    )
    probe_timeout: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="How long new code may take to answer the `probe`; by default "
        f"{DEFAULTS.probe_timeout:g}.",
        examples=[5],
    )
    drain_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long code that was replaced has for the requests that it took; then they "
        f"are let go. By default {DEFAULTS.drain_timeout:g}.",
        examples=[60],
    )
    pause_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long a request waits while the site is paused before it is answered 503; "
        f"by default {DEFAULTS.pause_timeout:g}.",
        examples=[60],
    )
    idle_timeout: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="How long a site may be without requests before it is unloaded; the next one "
        "loads it again. `0`, the default, for no limit.",
        examples=[3600],
    )
    max_survivors: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="How many unloaded generations of a site may still be in memory, held by a "
        "thread that goes on for example, before it is not reloaded any more; by default "
        f"{DEFAULTS.max_survivors}. `0` for no limit.",
        examples=[1],
    )


class SiteEntry(_Strict):
    """One Django project."""

    hosts: Annotated[list[Host], Field(min_length=1)] | None = Field(
        default=None,
        description="The host names that the site answers to: exact ones, or `*.example.com` for "
        "every name below `example.com`. May be left out if the name of the site is itself a host "
        "name with a dot.",
        examples=[["shop.example", "*.shop.example"]],
    )
    path: FileName = Field(
        description="The folder of the project, the one with `manage.py` in it. Relative to the "
        "folder of `sites.json`.",
        examples=["projects/shop"],
    )
    wsgi: Application | None = Field(
        default=None,
        description="The WSGI application: `module`, or `module:attribute` if the attribute is not "
        "`application`. Left out, it is found from `manage.py` and the settings.",
        examples=["core.wsgi", "core.wsgi:application"],
    )
    env: dict[VariableName, str] = Field(
        default={},
        description="Environment variables of this site. `${NAME}` and `${NAME:-default}` stand "
        "for variables of the gateway's own environment, `$${` for a plain `${`.",
        examples=[{"DJANGO_SETTINGS_MODULE": "core.settings", "SECRET_KEY": "${SHOP_SECRET_KEY}"}],
    )
    env_file: FileName | None = Field(
        default=None,
        description="A file with further variables, a line `NAME=value` for each. `env` wins over "
        "it. Relative to the folder of `sites.json`.",
        examples=["projects/shop/.env"],
    )
    venv: FileName | None = Field(
        default=None,
        description="The virtual environment whose packages the site imports, made with the same "
        "version of Python that runs the gateway. Left out, the gateway's own. Relative to the "
        "folder of `sites.json`.",
        examples=["projects/shop/.venv"],
    )
    preload: bool = Field(
        default=False,
        description="Load the site when the gateway starts instead of on its first request.",
        examples=[True],
    )
    watch: bool = Field(
        default=False,
        description="Reload the site when a module that it has imported changes, or a file in the "
        "folders of its templates; for development.",
        examples=[True],
    )
    probe: ProbePath | Literal[False] = Field(
        default="/",
        description="The path that a reload asks of the new code before that takes over: an answer "
        "of 500 or above, or none in time, leaves the old code in place, unless that fails in the "
        "same way. `false` for no probe.",
        examples=["/health/"],
    )
    probe_host: Host | None = Field(
        default=None,
        description="The host that the probe asks for. Left out, the first of `hosts` without a "
        "wildcard.",
        examples=["www.shop.example"],
    )
    migrations: Literal["ignore", "warn", "require"] = Field(
        default="ignore",
        description="What to do about migrations that have not been applied when the site loads: "
        "nothing, a warning in the log, or not to serve such code.",
        examples=["require"],
    )
    limits: LimitsEntry | None = Field(
        default=None,
        description="What the site may take of the machine.",
        examples=[{"concurrency": 16, "request_timeout": 60}],
    )


class Document(_Strict):
    """The sites that the gateway serves."""

    schema_uri: str | None = Field(
        default=None,
        alias="$schema",
        description="Where editors find the rules for this file. The gateway ignores it.",
        examples=["./gateway/sites.schema.json"],
    )
    sites: dict[SiteName, SiteEntry] = Field(
        description="The sites by name. A name consists of lower-case letters, digits, `.`, `_` "
        "and `-`, begins with a letter or digit, and has no two dots in a row.",
        examples=[{"shop.example": {"path": "projects/shop"}}],
    )
    default_site: SiteName | None = Field(
        default=None,
        description="The name of the site that answers to every host that no site names.",
        examples=["shop.example"],
    )
    limits: LimitsEntry | None = Field(
        default=None,
        description="What each site may take of the machine, where its own `limits` do not say.",
        examples=[{"request_timeout": 60, "max_body": 10485760}],
    )
