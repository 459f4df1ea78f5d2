"""Keep the token the same in all workers: each follows the file, at its start and while it runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final, Self

from gateway.admin.auth import Authority
from gateway.admin.token import TokenError, obtain_token
from gateway.settings import Settings

logger = logging.getLogger("gateway.token")

POLL_INTERVAL: Final = 1.0
"""Seconds between two looks at the file."""


class TokenWatch:
    """Keep the token of an `Authority` equal to that in the file, inside ``async with``.

    If somebody replaces the file, all workers take the new token. If the file in the state folder
    is gone, the first worker that sees this writes it again, so that workers which start later have
    the same token.
    """

    def __init__(self, authority: Authority, settings: Settings) -> None:
        self._authority = authority
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="watch the token")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await self._poll()
            except Exception:
                logger.exception("looking at the token failed; it goes on in a moment")

    async def _poll(self) -> None:
        authority = self._authority
        try:
            token = await asyncio.to_thread(obtain_token, self._settings, authority.token)
        except TokenError as error:
            if authority.trouble is None:
                logger.error("the token of before goes on being used: %s", error)
            authority.trouble = str(error)
            return
        if authority.trouble is not None:
            logger.warning("the token can be read again")
        if token.secret != authority.token.secret:
            logger.warning("the admin token was replaced; the new one counts from now on")
        authority.token, authority.trouble = token, None
