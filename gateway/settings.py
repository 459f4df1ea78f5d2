"""The settings of the gateway itself: environment variables whose names begin with ``GATEWAY_``.

Sites are not described here but in ``sites.json``, and no site sees any of these variables.
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.config.hosts import InvalidHostError, normalise_host
from gateway.errors import GatewayError
from gateway.front.proxies import UNIX, TrustedProxy

PREFIX: Final = "GATEWAY_"


class SettingsError(GatewayError):
    """One or more ``GATEWAY_*`` variables have values that cannot be used.

    The message has a line for each of them, with the name of the variable and the remedy.
    """


class Settings(BaseSettings):
    """The settings of the whole gateway. Read them with ``Settings.load()``.

    Relative paths start from the working directory. An empty variable counts as not set.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    sites: Path = Field(
        default=Path("sites.json"),
        description="The file that names the sites.",
    )
    state_dir: Path = Field(
        default=Path(".gateway"),
        description="The folder of what the gateway remembers: its token, the last good "
        "`sites.json`, what its workers agree on and the history. It is made if it does not "
        "exist, for its owner only; where others can write to it, a folder below is used.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="The token that the admin endpoints want, in visible ASCII characters. Without "
        "it and without a file, one is made and kept in the state folder.",
    )
    admin_token_file: Path | None = Field(
        default=None,
        description="A file that holds the token, instead of the variable.",
    )
    admin_open: bool = Field(
        default=False,
        description="`1` lets requests from this machine, not forwarded by any proxy, use the "
        "admin endpoints without a token. For development only.",
    )
    admin_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="More hosts for the admin endpoints beside `localhost`, `127.0.0.1` and "
        "`[::1]`, separated by commas. No site can claim them.",
    )
    load_retry: float = Field(
        default=5.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds after which a request may try a site again that failed to load. It "
        "doubles with each failure, up to a limit.",
    )
    threads: int = Field(
        default=80,
        ge=1,
        description="Threads of all sites together. Each may hold a database connection, so keep "
        "it below what the database server allows (PostgreSQL: 100). With fewer than 3, one site "
        "that hangs can keep all others waiting.",
    )
    crash_limit: int = Field(
        default=2,
        ge=0,
        description="How many workers the code of a site may end within five minutes. Then it is "
        "set aside: 503 for its visitors until it is reloaded. `0` for no limit.",
    )
    memory_budget: int = Field(
        default=0,
        ge=0,
        description="MB of memory of a worker process above which the sites that were used least "
        "recently are unloaded, to load again with their next request. `0` for no limit.",
    )

    trusted_proxies: Annotated[tuple[TrustedProxy, ...], NoDecode] = Field(
        default=(),
        description="Addresses and networks of the proxies whose `Forwarded`, `X-Forwarded-*` and "
        "`X-Real-IP` count, separated by commas; `unix` stands for Unix sockets. What others send "
        "in such headers is withheld from the sites.",
    )
    trust_forwarded_host: bool = Field(
        default=False,
        description="`1` lets the trusted proxies choose the site: what they say in "
        "`X-Forwarded-Host`, or as `host=` in `Forwarded`, counts instead of `Host`. Only where "
        "each of them sets these headers itself, or removes them.",
    )
    head_timeout: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for the head of a request to arrive, from its first byte or, on a "
        "new connection, from the start. Only with `--http gateway.protocol:Protocol`.",
    )
    max_head: int = Field(
        default=32768,
        ge=1024,
        description="Bytes of the head of a request, request target and all headers together; "
        "more is 431.",
    )
    max_headers: int = Field(
        default=100,
        ge=1,
        description="Headers of a request; more is 431.",
    )

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment of the process.

        Raises ``SettingsError``.
        """
        try:
            return cls()
        except ValidationError as error:
            # Not chained: pydantic's error holds the values, and one of them may be the token.
            raise SettingsError(
                "\n".join(_explain(dict(item)) for item in error.errors())
            ) from None

    @field_validator("admin_token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        """Refuse a token that an ``Authorization`` header cannot carry (RFC 6750, section 2.1)."""
        if token is not None and not all("!" <= char <= "~" for char in token.get_secret_value()):
            raise ValueError("use visible ASCII characters only, without spaces")
        return token

    @field_validator("admin_hosts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return _split_at_commas(value)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(_trusted_proxy(part) for part in _split_at_commas(value))

    @field_validator("admin_hosts")
    @classmethod
    def _in_normal_form(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(normalise_host(host) for host in hosts))
        except InvalidHostError as error:
            raise ValueError(error.reason) from None

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.admin_token is not None and self.admin_token_file is not None:
            raise ValueError(
                f"{PREFIX}ADMIN_TOKEN and {PREFIX}ADMIN_TOKEN_FILE are both set; leave one out"
            )
        return self


def _split_at_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _trusted_proxy(value: Any) -> TrustedProxy:
    if value == UNIX:
        return UNIX
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(
            f'"{value}" is no address, no network (10.0.0.0/8, all of it) and not "{UNIX}"'
        ) from None


def _explain(error: dict[str, Any]) -> str:
    """Turn one of pydantic's errors into a line, without the value if that may be a secret."""
    reason = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "bool_parsing":
        reason = "write 1 or 0"
    if not error["loc"]:
        return reason
    field = str(error["loc"][0])
    value = "" if "token" in field else f": {error['input']!r}"
    return f"{PREFIX}{field.upper()}{value} cannot be used: {reason[0].lower()}{reason[1:]}"
