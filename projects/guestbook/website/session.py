"""What the guestbook remembers of a visitor between two requests."""

from django.contrib.sessions.backends.base import SessionBase


class Visitor:
    """The visitor whose session this is.

    Only somebody who signed the book is remembered: those who just read it get no session, hence
    no cookie and no row in the database.
    """

    def __init__(self, session: SessionBase) -> None:
        self._session = session

    @property
    def name(self) -> str:
        """The name last signed with, or an empty string."""
        return self._session.get("visitor_name", "")

    @property
    def visits(self) -> int:
        """How often the visitor opened the book since signing it first."""
        return self._session.get("visits", 0)

    def arrive(self) -> None:
        """Count a visit, if the visitor is known."""
        if self.name:
            self._session["visits"] = self.visits + 1

    def remember(self, name: str) -> None:
        self._session["visitor_name"] = name

    def forget(self) -> None:
        """Remember nothing. A member of staff who is signed in to the admin stays so."""
        self._session.pop("visitor_name", None)
        self._session.pop("visits", None)
