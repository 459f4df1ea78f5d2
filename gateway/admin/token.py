"""The admin token: where it comes from, and how an operator's shell reads it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.disk.files import read_file, why_not
from gateway.disk.statefolder import TOKEN, StateFolder
from gateway.disk.trustedfolder import StateError
from gateway.errors import GatewayError
from gateway.settings import PREFIX, Settings

_LARGEST: Final = 1 << 16


class TokenError(GatewayError):
    """There is no admin token that can be trusted; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class Token:
    """The secret, and ``shell``: an expression of the shell that gives the secret.

    ``shell`` contains neither the secret nor a path of this machine, so anybody may see it.
    """

    secret: bytes = field(repr=False)
    shell: str


def obtain_token(settings: Settings, known: Token | None = None) -> Token:
    """Return the token of the settings, else that of the state folder, which is made if needed.

    A token that has to be made is the same as ``known``, if that is given. Blocks. Raises
    `TokenError`.
    """
    if settings.admin_token is not None:
        secret = settings.admin_token.get_secret_value().encode()
        return Token(secret, f"${PREFIX}ADMIN_TOKEN")
    if settings.admin_token_file is not None:
        # Its permissions are not checked, because mounted secrets are often 0444.
        secret = _read(settings.admin_token_file)
        return Token(secret, f'$(cat "${PREFIX}ADMIN_TOKEN_FILE")')
    secret, shown = _own(settings, known)
    return Token(secret, f"$(cat {shown})")


def _own(settings: Settings, known: Token | None) -> tuple[bytes, str]:
    """Return the token in the state folder, made if there is none, and its path for a shell."""
    folder = StateFolder(settings.state_dir)
    try:
        secret = folder.make_once(TOKEN, lambda: _new(known), _LARGEST)
        file, path = Path(folder.below(), TOKEN), folder.path_of(TOKEN)
    except StateError as error:
        raise TokenError(
            f"there is no admin token: {error}; or set {PREFIX}ADMIN_TOKEN or "
            f"{PREFIX}ADMIN_TOKEN_FILE"
        ) from None
    default = Settings.model_fields["state_dir"].default
    shown = default / file if settings.state_dir == default else f'"${PREFIX}STATE_DIR/{file}"'
    return _checked(secret, path), str(shown)


def _new(known: Token | None) -> bytes:
    return (known.secret if known else secrets.token_urlsafe(32).encode()) + b"\n"


def _read(path: Path) -> bytes:
    try:
        return _checked(read_file(path, _LARGEST), path)
    except OSError as error:
        raise TokenError(f"the admin token in {path} {why_not(error)}") from None


def _checked(content: bytes, path: Path) -> bytes:
    secret = content.strip()
    if not secret or not all(0x21 <= byte <= 0x7E for byte in secret):
        raise TokenError(
            f"{path} holds no token: it has to be one line of visible ASCII characters"
        )
    return secret
