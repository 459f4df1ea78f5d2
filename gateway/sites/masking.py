"""Keeping the secrets of a site's environment out of everything that is shown or logged.

What is a secret is told by the name of its variable and by the look of its value; the table in
``docs/sites-json.md`` ("Secrets") is this module in words. Ordinary words of an environment stay
readable: a mask that takes out ``production`` hides the reason of half of all errors.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "********"
SHORTEST: Final = 4
"""Characters that a secret has. Shorter values would make a traceback unreadable (``line 123``)."""
_SHORT: Final = 8
_WORDY: Final = 16
"""Secrets shorter than this, or than `_SHORT` if they are more than letters, are masked where they
stand as a whole word: ``postgres`` is a password, and part of ``django.db.backends.postgresql``."""

_SECRET_WORDS: Final = frozenset(
    {
        "auth", "bearer", "credential", "credentials", "creds", "dsn", "jwt", "key", "keys", "otp",
        "pass", "passcode", "passphrase", "passwd", "password", "passwords", "pepper", "pin",
        "private", "pw", "pwd", "salt", "secret", "secrets", "token", "tokens",
    }
)  # fmt: skip
"""A variable with one of these words in its name holds a secret."""
_SECRET_ENDS: Final = (
    "credential", "credentials", "dsn", "key", "keys", "pass", "passphrase", "passwd", "password",
    "pwd", "salt", "secret", "token",
)  # fmt: skip
"""The same, written together with what stands before: ``APIKEY``, ``PGPASSWORD``, ``DBPASS``."""
_DESCRIPTIONS: Final = frozenset(
    {
        "age", "algorithm", "alg", "audience", "backend", "backends", "class", "classes", "cost",
        "days", "dir", "domain", "enabled", "endpoint", "expire", "expires", "expiry", "field",
        "file", "folder", "format", "hasher", "hashers", "header", "host", "hours", "issuer",
        "length", "lifetime", "limit", "max", "method", "min", "minutes", "mode", "model",
        "module", "name", "path", "port", "prefix", "provider", "providers", "realm", "required",
        "root", "rounds", "scheme", "scope", "scopes", "seconds", "server", "size", "timeout",
        "ttl", "type", "url", "validator", "validators", "version",
    }
)  # fmt: skip
"""Last words of names that speak about a secret: ``SECRET_KEY_FILE``, ``AUTH_USER_MODEL``."""
_FLAGS: Final = frozenset({"false", "none", "null", "true"})
_PLACES: Final = frozenset({"PWD", "OLDPWD"})
"""Working directories: what shells mean by ``PWD``."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"
_URL: Final = re.compile(rf"{_SCHEME}(?P<rest>(?:(?![,;]{_SCHEME})[^\s\"'<>])+)")
_LOOSE_USER: Final = re.compile(r"[^:/@]*:(?!\d*/)[^@]*/")
"""A user with a password that has a slash in it, which should have been ``%2F``."""
_PAIR: Final = re.compile(
    r"(?P<name>[A-Za-z][\w.-]{0,60})\s{0,9}=\s{0,9}"
    r"(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<plain>[^\s;&,]+))"
)
"""``password=…`` in a value: of libpq and ODBC, in the query of a URL."""
_KNOWN: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # JSON Web Token (RFC 7519)
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|[sr]k_(?:live|test)_)[\w-]{10,}"
)
_LONG: Final = 20
"""Characters from which on a text may look random."""
_TOKEN: Final = re.compile(rf"[\w+=-]{{{_LONG},}}", re.ASCII)
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/]{{{_LONG},}}={{0,2}}")
_CHUNK: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_RANDOM_CHUNK: Final = 3.0
"""Characters of a chunk (a word, a number) on average, below which a text looks random: those of
names have five and more, random ones two."""
_CHANGE: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")
_RANDOM_CHANGE: Final = 6
"""Characters for each change from letters to digits or back, up to which it looks random, too."""
_PATH: Final = re.compile(r"[.~]{0,2}/([^/]*/)*[a-z.]{3,}(/|$)")
"""A place in the file system, one folder of which has a plain name. Hashes in it are no secrets."""
_SIGNS: Final = frozenset("!#$%^&*()=+{}[]<>?|~")
_MANY_SIGNS: Final = 3
_BASE64_FROM: Final = 12
"""Characters of a secret that is also looked for in base64; shorter ones have too few in common."""


class Mask:
    """Takes the secrets of a site's environment out of texts.

    What it needs for that is made at its first use and kept.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def __call__(self, text: str) -> str:
        """``text`` with `MASK` in place of every secret, or of several that overlap."""
        parts, end = [], 0
        for begin, until in _merged(self._spans(text)):
            parts += [text[end:begin], MASK]
            end = until
        return "".join((*parts, text[end:])) if parts else text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        forms, words = self._sought
        # One step after each begin, not each end: of secrets that overlap no part may stay.
        for form in forms:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)
        found = words.search(text) if words else None
        while words and found:
            yield found.span()
            found = words.search(text, found.start() + 1)

    @cached_property
    def _sought(self) -> tuple[list[str], re.Pattern[str] | None]:
        """What is looked for anywhere, and as whole words."""
        forms = {form for secret in secrets_of(self._env) for form in _forms(secret)}
        words = sorted(filter(_is_word, forms), key=len, reverse=True)
        pattern = "|".join(map(_as_word, words))
        return list(forms.difference(words)), re.compile(pattern) if words else None


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Of spans that overlap the union, in the order of the text."""
    begin = until = -1
    for start, end in sorted(spans):
        if start >= until:
            if until > 0:
                yield begin, until
            begin = start
        until = max(until, end)
    if until > 0:
        yield begin, until


def secrets_of(env: Mapping[str, str]) -> frozenset[str]:
    """The secrets in an environment, as they stand there and in the parts that count."""
    found = {text for name, value in env.items() for text in _secrets_in(name, value)}
    return frozenset(text for text in found if not _is_harmless(text))


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable, or of a key in JSON, is a secret whatever it looks like."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or name in _PLACES or words[-1] in _DESCRIPTIONS:
        return False
    return any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in words)


def looks_random(text: str) -> bool:
    """Whether a text without spaces is made by a machine: a key, a token, a digest."""
    if len(text) < _LONG:
        return False
    chunks = _CHUNK.findall(text)
    kinds = {_kind(char) for char in text if char.isascii() and char.isalnum()}
    if len(kinds) < 2 or not any(char.isalpha() for char in text):
        return False
    changes = len(_CHANGE.findall(text))
    return (
        sum(map(len, chunks)) < len(chunks) * _RANDOM_CHUNK or len(text) <= changes * _RANDOM_CHANGE
    )


def _kind(char: str) -> str:
    return "digit" if char.isdigit() else "upper" if char.isupper() else "lower"


def _secrets_in(name: str, value: str) -> Iterator[str]:
    named = is_secret_name(name)
    text = value.strip()
    if not text:
        return
    if named:
        yield value
        yield text
        yield from _parts(text)
    inner = [*_in_json(text, named), *_in_urls(text), *_in_pairs(text), *_by_look(text)]
    if inner:
        yield from inner
        if _URL.match(text) or text[0] in "{[":
            yield text


def _parts(text: str) -> Iterator[str]:
    """Of a list of secrets each, and the password of ``user:password``."""
    if not _URL.search(text):
        if "," in text or ";" in text:
            yield from (part.strip() for part in re.split("[,;]", text))
        if not any(char.isspace() for char in text):
            yield text.partition(":")[2]


def _in_json(text: str, named: bool) -> Iterator[str]:
    if text[0] not in "{[":
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from _in_tree("", document, named)


def _in_tree(name: str, tree: Any, named: bool) -> Iterator[str]:
    named = named or is_secret_name(name)
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _in_tree(key, value, named)
    elif isinstance(tree, list):
        for value in tree:
            yield from _in_tree(name, value, named)
    elif isinstance(tree, str) and tree.strip():
        if named:
            yield tree
        yield from _secrets_in(name, tree)
    elif named and isinstance(tree, int | float) and not isinstance(tree, bool):
        yield str(tree)


def _in_urls(text: str) -> Iterator[str]:
    """Passwords of URLs (RFC 3986, 3.2.1), and each URL that has a user."""
    for url in _URL.finditer(text):
        rest = url["rest"]
        user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
        if not at and _LOOSE_USER.match(rest):
            user, at, _ = rest.rpartition("@")
        if not at:
            continue
        yield url[0]
        name, colon, password = user.partition(":")
        yield from (password, unquote(password)) if colon else ()
        yield from (name, unquote(name)) if looks_random(name) else ()


def _in_pairs(text: str) -> Iterator[str]:
    for pair in _PAIR.finditer(text):
        if is_secret_name(pair["name"]):
            value = pair["single"] or pair["double"] or pair["plain"] or ""
            yield value
            yield unquote(value)


def _by_look(text: str) -> Iterator[str]:
    if _PEM.search(text):
        yield text
    yield from (known[0] for known in _KNOWN.finditer(text))
    if _PATH.match(text):
        return
    yield from (token[0] for token in _TOKEN.finditer(text) if looks_random(token[0]))
    if any(char.isspace() for char in text):
        return
    if _BASE64.fullmatch(text) and looks_random(text):
        yield text
    # As Django makes its keys. A regular expression may look the same, which is no harm.
    signs = len(_SIGNS.intersection(text))
    letters = any(char.isalpha() for char in text) and any(char.isdigit() for char in text)
    if signs >= _MANY_SIGNS and letters and len(text) >= _LONG and not _URL.match(text):
        yield text


def _is_harmless(text: str) -> bool:
    return len(text.strip()) < SHORTEST or text.strip().lower() in _FLAGS


def _forms(secret: str) -> Iterator[str]:
    """The forms in which a secret turns up in messages, none of them empty."""
    texts = {secret, " ".join(secret.split()), unquote(secret)}
    if "\n" in secret or "\r" in secret:
        lines = {line.strip() for line in secret.splitlines()}
        texts |= {line for line in lines if not line.startswith("-----")}
    for text in texts:
        if not _is_harmless(text):
            yield from _escaped(text)
    yield from _in_base64(secret)


def _escaped(text: str) -> Iterable[str]:
    raw = text.encode(errors="surrogateescape")
    quoted = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    represented = repr(text)[1:-1]
    return {
        text,
        represented,
        represented.replace("'", "\\'"),
        ascii(text)[1:-1],
        repr(raw)[2:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        *quoted,
        *(re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), each) for each in quoted),
    }


def _in_base64(secret: str) -> Iterator[str]:
    """What the secret looks like in base64, for each of the three places where it can begin."""
    raw = secret.encode(errors="surrogateescape")
    if len(raw) < _BASE64_FROM:
        return
    for before in range(3):
        # Only characters all of whose bits are of the secret.
        begin, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw).decode()[begin:end]


def _is_word(text: str) -> bool:
    return len(text) < _SHORT or (len(text) < _WORDY and text.isalpha())


def _as_word(text: str) -> str:
    """The pattern of a secret that is masked as a word of its own."""
    pattern = re.escape(text)
    if text[0].isalnum():
        # A word begins also after an escape: \n, \x2f, \u002f, %2F.
        pattern = (
            r"(?:(?<!\w)|(?<=\\[abfnrtv])|(?<=\\x[0-9a-fA-F]{2})"
            r"|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
        ) + pattern
    return pattern + (r"(?!\w)" if text[-1].isalnum() else "")
