"""The admin token: where it comes from, and how an operator's shell gets at it."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.files import read_file, why_not
from gateway.settings import PREFIX, Settings

logger = logging.getLogger("gateway.admin")

FILE_NAME: Final = "admin-token"
_LARGEST: Final = 1 << 16
_LAX: Final = stat.S_IRWXG | stat.S_IRWXO


class TokenError(GatewayError):
    """There is no admin token that can be trusted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Token:
    """The secret, and ``shell``: what stands for it in a command line.

    ``shell`` never holds the secret nor a path of this machine: it may be shown to anybody.
    """

    secret: bytes = field(repr=False)
    shell: str


def obtain_token(settings: Settings) -> Token:
    """The token that the settings name, else the one of the state directory, made if needed.

    Blocks. Raises `TokenError`.
    """
    if settings.admin_token is not None:
        secret = settings.admin_token.get_secret_value().encode()
        return Token(secret, f"${PREFIX}ADMIN_TOKEN")
    if settings.admin_token_file is not None:
        # How the file is protected is its owner's business: mounted secrets are often 0444.
        secret = _read(settings.admin_token_file)
        return Token(secret, f'$(cat "${PREFIX}ADMIN_TOKEN_FILE")')
    path = settings.state_dir / FILE_NAME
    default = Settings.model_fields["state_dir"].default
    shown = (
        str(default / FILE_NAME)
        if settings.state_dir == default
        else f'"${PREFIX}STATE_DIR/{FILE_NAME}"'
    )
    return Token(_own(path), f"$(cat {shown})")


def _own(path: Path) -> bytes:
    """The token in the state directory; made for its owner only if there is none."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            _create(path)
        _protect(path)
    except OSError as error:
        raise TokenError(
            f"no admin token can be kept in {path}: {error.strerror}; put that right, or set "
            f"{PREFIX}STATE_DIR, {PREFIX}ADMIN_TOKEN or {PREFIX}ADMIN_TOKEN_FILE"
        ) from None
    return _read(path)


def _create(path: Path) -> None:
    # Written under a name of its own and then linked, which fails if the file exists: of several
    # worker processes that start together one makes the token, and none reads half of it.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(draft, path)
        logger.info("made an admin token: %s", path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _protect(path: Path) -> None:
    """Make sure that the token is ours and nobody else's.

    A file that others could read is tightened, with a warning. One that others could write, that
    belongs to somebody else or is a link proves nothing, and is refused.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in {os.geteuid(), 0}:
        raise TokenError(f"{path} is not a file of the gateway's own user; remove it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TokenError(f"others can write to {path}; remove it, and a new token is made")
    if status.st_mode & _LAX:
        path.chmod(0o600)
        logger.warning(
            "others could read the admin token in %s, which is now put right; if somebody may have "
            "read it, remove the file and start again to get a new one",
            path,
        )


def _read(path: Path) -> bytes:
    try:
        secret = read_file(path, _LARGEST).strip()
    except OSError as error:
        raise TokenError(f"the admin token in {path} {why_not(error)}") from None
    if not secret or not all(0x21 <= byte <= 0x7E for byte in secret):
        raise TokenError(
            f"{path} holds no token: it has to be one line of visible ASCII characters"
        )
    return secret
