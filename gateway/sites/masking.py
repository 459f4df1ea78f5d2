"""The mask: it keeps the secrets of a site's environment out of everything that is shown or logged.

A value is a secret because of the name of its variable, or because of its own form. The table in
``docs/sites-json.md`` ("Secrets") has the rules of this module in words. Ordinary words of an
environment stay readable: a mask that hides ``production`` hides the reason of half of all errors.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK: Final = "********"
SHORTEST: Final = 4
"""The fewest characters of a secret. Shorter ones would garble tracebacks: ``line 123``."""
_SHORT: Final = 8
_WORDY: Final = 16
"""Secrets of letters alone that are shorter than this are masked only as a whole word. So are other
secrets shorter than `_SHORT`. An example is the password ``postgres``, which is also a part of
``django.db.backends.postgresql``."""

SECRET_WORDS: Final = frozenset(
    {
        "bearer", "credential", "credentials", "creds", "dsn", "jwt", "key", "keys", "otp", "pass",
        "passcode", "passphrase", "passwd", "password", "passwords", "pepper", "pin", "psk", "pw",
        "pwd", "salt", "secret", "secrets", "token", "tokens",
    }
)  # fmt: skip
"""A variable with one of these words in its name holds a secret."""
SECRET_ADJECTIVES: Final = frozenset({"auth", "private"})
"""A variable with one of these words holds a secret, unless it ends in one of `CIRCUMSTANCES`."""
SECRET_PARAMETERS: Final = frozenset({"sig", "signature"})
"""Further names of secrets in the query of a URL and in other pairs."""
SECRET_ENDS: Final = (
    "credential", "credentials", "dsn", "passphrase", "passwd", "password", "passwords", "pwd",
    "secret", "secrets", "token", "tokens",
)  # fmt: skip
"""A word with one of these ends counts, too: ``PGPASSWORD``, ``AUTHTOKEN``."""
JOINED_WORDS: Final = ("key", "keys", "pass", "salt")
"""Ends of ordinary words as well (``MONKEY``, ``COMPASS``): they count only after words of
`JOINED_BEFORE`."""
JOINED_BEFORE: Final = (
    "access", "account", "admin", "api", "app", "auth", "aws", "azure", "backup", "bot", "cert",
    "client", "consumer", "crypt", "data", "db", "deploy", "dev", "django", "email", "encryption",
    "fernet", "ftp", "github", "gitlab", "google", "gpg", "hash", "hmac", "host", "http", "https",
    "imap", "jwt", "kafka", "ldap", "license", "live", "login", "mail", "maps", "mariadb",
    "master", "minio", "mongo", "mongodb", "mq", "my", "mysql", "openai", "password", "pg", "pgp",
    "postgres", "postgresql", "private", "prod", "proxy", "rabbitmq", "redis", "root", "rsa",
    "secret", "sentry", "server", "service", "session", "shared", "sign", "signing", "slack",
    "smtp", "sql", "ssh", "ssl", "storage", "store", "stripe", "test", "tls", "user", "vault",
    "webhook",
)  # fmt: skip
"""One or several of these stand before such an end: ``APIKEY``, ``DBPASS``, ``AWSSECRETKEY``."""
DESCRIPTIONS: Final = frozenset(
    {
        "age", "algorithm", "alg", "audience", "backend", "backends", "class", "classes", "column",
        "cost", "days", "dir", "enabled", "endpoint", "expire", "expires", "expiry", "field",
        "file", "folder", "format", "hasher", "hashers", "hours", "issuer", "length", "lifetime",
        "limit", "max", "method", "min", "minutes", "mode", "model", "module", "path", "port",
        "prefix", "required", "rounds", "scheme", "scope", "scopes", "seconds", "size", "timeout",
        "ttl", "type", "uri", "uris", "url", "urls", "validator", "validators", "version",
    }
)  # fmt: skip
"""Last words of names that only describe a secret: ``SECRET_KEY_FILE``, ``AUTH_USER_MODEL``."""
CIRCUMSTANCES: Final = frozenset(
    {
        "dn", "domain", "domains", "group", "groups", "host", "hosts", "ip", "ips", "name",
        "network", "networks", "provider", "providers", "realm", "server", "servers", "sock",
        "socket", "subnet", "subnets", "user", "username",
    }
)  # fmt: skip
"""Last words of names in which `SECRET_ADJECTIVES` mean no secret: ``SSH_AUTH_SOCK``,
``PRIVATE_NETWORKS``. They make no difference to other words: ``PASSWORD_SERVER`` is a password."""
_FLAGS: Final = frozenset({"false", "none", "null", "true"})
_PLACES: Final = frozenset({"PWD", "OLDPWD"})
"""Working directories, for which shells use the name ``PWD``."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_JOINED: Final = re.compile(f"(?:{'|'.join(JOINED_BEFORE)})+(?:{'|'.join(JOINED_WORDS)})")
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"
_URL: Final = re.compile(rf"(?P<scheme>{_SCHEME})(?P<rest>(?:(?![,;]{_SCHEME})[^\s\"'<>])+)")
_ADDRESS: Final = r"(?:\[[0-9A-Fa-f:.]*\]|[^:/?#@]+:\d*(?:(?<=\d),[A-Za-z][\w.-]*:\d+)*(?=[/?#]|$))"
_LOOSE_USER: Final = re.compile(rf"(?!{_ADDRESS})[^:/?#@]*:")
"""The user before a password that contains ``/``, ``?`` or ``#``, which should have been quoted."""
_DELIMITERS: Final = re.compile(r"[/?#@:]")
_PARAMETER: Final = re.compile(r"[?&#;](?P<name>[A-Za-z][\w.-]{0,60})=(?P<value>[^&#]+)")
_PAIR: Final = re.compile(
    r"(?P<name>[A-Za-z][\w.-]{0,60})\s{0,9}=\s{0,9}"
    r"(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<plain>[^\s;&,]+))"
)
"""A pair such as ``password=…`` in a value, as libpq, ODBC and the query of a URL have it."""
_KNOWN: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # JSON Web Token (RFC 7519)
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|[sr]k_(?:live|test)_)[\w-]{10,}"
)
_LONG: Final = 20
"""The fewest characters of a text that may look random."""
_TOKEN: Final = re.compile(rf"[\w+=-]{{{_LONG},}}", re.ASCII)
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/]{{{_LONG},}}={{0,2}}")
_CHUNK: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_RANDOM_CHUNK: Final = 3.0
"""A text looks random if its chunks (words, numbers) have fewer characters than this on average.
Chunks of names have five and more, random ones two."""
_CHANGE: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")
_RANDOM_CHANGE: Final = 6
"""A text also looks random if it has a change between letters and digits for this many characters,
or for fewer."""
_PATH: Final = re.compile(r"[.~]{0,2}/([^/]*/)*[a-z.]{3,}(/|$)")
"""A path in which one folder has a plain name. Hashes in it are no secrets."""
_NAMED_PLACE: Final = re.compile(r"[A-Za-z_]+(\.[A-Za-z_]+)+")
"""A module or a host: ``core.settings``."""
_SIGNS: Final = frozenset("!#$%^&*()=+{}[]<>?|~")
_MANY_SIGNS: Final = 3
_GRAM: Final = 12
_STEP: Final = 8
"""Every run of `_LONG` characters of a long secret is found. Only grams that begin at a multiple of
`_STEP` in the text are looked up. Each run has one of them, because `_GRAM` and `_STEP` together
are no more than `_LONG` + 1."""
_INDENTED: Final = re.compile(rf"\s{{{_GRAM}}}")
_WEAK: Final = 12
"""Words of small letters that are shorter than this (``django``; the first letter may be a capital)
are not masked in paths, in dotted names and in the lines of a traceback."""
_LINE: Final = re.compile(
    r'^[ |]*File (?=".*", line \d)|(?<="), line \d+(?:, in (?=\S))?'
    r"|Traceback \(most recent call last\)",
    re.MULTILINE,
)
"""The words that Python itself writes in a traceback."""
_FUNCTION: Final = re.compile(r"(?<=\d, in )[\w.<>]+$", re.MULTILINE)
_STRETCH: Final = re.compile(r"(?<![\w=:~./+-])[\w~./+-]+")
_DOTTED: Final = re.compile(r"\w\.\w")
_BASE64_FROM: Final = 12
"""The fewest characters of a secret whose base64 is masked, too. Fewer would match too much."""


class Mask:
    """Takes the secrets of a site's environment out of texts.

    It finds the secrets at its first use, and keeps them.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def __call__(self, text: str) -> str:
        """Return ``text`` with `MASK` in place of every secret; those that overlap become one."""
        parts, end = [], 0
        for begin, until in _merged(self._spans(text)):
            parts += [text[end:begin], MASK]
            end = until
        return "".join((*parts, text[end:])) if parts else text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        sought = self._sought
        # The search goes on one character after the begin of each find, not after its end: if
        # secrets overlap, no part of them may stay.
        for form in sought.forms:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)
        if sought.grams:
            yield from _runs(text, sought.grams)
        if sought.words:
            yield from _words_in(_LINE.sub(_blank, text), sought.words)
        if sought.weak:
            text = _LINE.sub(_blank, _FUNCTION.sub(_blank, text))
            yield from _words_in(_STRETCH.sub(_blank_place, text), sought.weak)

    @cached_property
    def _sought(self) -> _Sought:
        forms: set[str] = set()
        long: set[str] = set()
        for secret in secrets_of(self._env):
            cut = _may_be_cut(secret)
            for form in _forms(secret):
                (long if cut and len(form) >= _LONG else forms).add(form)
        words = set(filter(_is_word, forms))
        weak = set(filter(_is_weak, words))
        return _Sought(
            list(forms - words), _pattern(words - weak), _pattern(weak), frozenset(_grams(long))
        )


class _Sought(NamedTuple):
    forms: list[str]
    """Secrets that are masked anywhere."""
    words: re.Pattern[str] | None
    weak: re.Pattern[str] | None
    """Secrets that are masked as whole words; the weak ones not in paths and dotted names."""
    grams: frozenset[str]
    """All runs of `_GRAM` characters in long secrets."""


def _words_in(text: str, words: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    found = words.search(text) if words else None
    while words and found:
        yield found.span()
        found = words.search(text, found.start() + 1)


def _pattern(words: set[str]) -> re.Pattern[str] | None:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(_as_word, longest_first))) if words else None


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _blank_place(found: re.Match[str]) -> str:
    """Blank out a path or a dotted name. It is none directly after ``=`` or ``:``, as in a URL."""
    is_place = "/" in found[0] or _DOTTED.search(found[0])
    return _blank(found) if is_place else found[0]


def _grams(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for at in range(len(text) - _GRAM + 1):
            yield text[at : at + _GRAM]


def _runs(text: str, grams: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield the spans with `_LONG` or more characters in a row that a long secret has as well."""
    last = -1
    for at in range(0, len(text) - _GRAM + 1, _STEP):
        if at <= last or text[at : at + _GRAM] not in grams:
            continue
        first = last = at
        while first and text[first - 1 : first - 1 + _GRAM] in grams:
            first -= 1
        while text[last + 1 : last + 1 + _GRAM] in grams:
            last += 1
        if last + _GRAM - first >= _LONG:
            yield first, last + _GRAM


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the spans in the order of the text; those that overlap become one."""
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
    """Return the secrets in an environment: whole values, and the secret parts of others."""
    found = {text for name, value in env.items() for text in _secrets_in(name, value)}
    return frozenset(text for text in found if not _is_harmless(text))


def is_secret_name(name: str) -> bool:
    """Tell whether a variable, or a key in JSON, holds a secret, whatever its value looks like."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or name in _PLACES or words[-1] in DESCRIPTIONS:
        return False
    nouns = [_is_secret_word(word) for word in words]
    if words[-1] == "name":  # SECRET_NAME, but not TOKEN_COOKIE_NAME
        return len(words) > 1 and nouns[-2]
    return any(nouns) or (
        not SECRET_ADJECTIVES.isdisjoint(words) and words[-1] not in CIRCUMSTANCES
    )


def _is_secret_word(word: str) -> bool:
    return word in SECRET_WORDS or word.endswith(SECRET_ENDS) or bool(_JOINED.fullmatch(word))


def _is_secret_parameter(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return is_secret_name(name) or bool(words and words[-1] in SECRET_PARAMETERS)


def looks_random(text: str) -> bool:
    """Tell whether a text without spaces was made by a machine: a key, a token, a digest."""
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
    """Yield each secret of a list, and the password of ``user:password``."""
    if not _URL.search(text):
        if "," in text or ";" in text:
            yield from (part.strip() for part in re.split("[,;]", text))
        if not any(char.isspace() for char in text):
            yield text.partition(":")[2]
            if not _is_place(text):
                # Words of letters alone stay, because they name things, as in shop/production/db.
                yield from (piece for piece in _pieces(text) if not piece.isalpha())


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
    """Yield passwords of URLs (RFC 3986, 3.2.1), URLs that have a user, and secrets of queries."""
    for url in _URL.finditer(text):
        for user in _users(url["scheme"], url["rest"]):
            yield url[0]
            name, colon, password = user.partition(":")
            if colon:
                yield from (password, unquote(password))
                yield from (*_pieces(password), *_pieces(unquote(password)))
            yield from (name, unquote(name)) if looks_random(name) else ()
        for parameter in _PARAMETER.finditer(url["rest"]):
            if _is_secret_parameter(parameter["name"]):
                value = parameter["value"]
                yield from (value, unquote(value), unquote_plus(value))


def _users(scheme: str, rest: str) -> Iterator[str]:
    """Yield each possible ``user:password`` of a URL, by the standard and as it was meant."""
    user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    loose, loose_at, _ = rest.rpartition("@")
    if at:
        yield user
        # An @ is common in the paths of these: a version, a scope, a user.
        if scheme.endswith(("http://", "https://", "ssh://")) or ":" not in user:
            return
        if len(user.partition(":")[2]) >= SHORTEST:
            # A query after the host is a real one. An & before it belongs to the password.
            host = re.split(r"[?&][\w.-]+=", rest[len(user) + 1 :], maxsplit=1)[0]
            loose = f"{user}@{host}".rpartition("@")[0]
        if loose != user:
            yield loose
    elif loose_at and _LOOSE_USER.match(rest):
        yield loose


def _pieces(password: str) -> list[str]:
    """Return the parts of a password with ``/``, ``?`` or ``#``, as `urlsplit` divides it."""
    return _DELIMITERS.split(password) if re.search("[/?#]", password) else []


def _in_pairs(text: str) -> Iterator[str]:
    for pair in _PAIR.finditer(text):
        if _is_secret_parameter(pair["name"]):
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
    # Keys of Django look like this. So do some regular expressions; masking them does no harm.
    signs = len(_SIGNS.intersection(text))
    letters = any(char.isalpha() for char in text) and any(char.isdigit() for char in text)
    if signs >= _MANY_SIGNS and letters and len(text) >= _LONG and not _URL.match(text):
        yield text


def _is_harmless(text: str) -> bool:
    return len(text.strip()) < SHORTEST or text.strip().lower() in _FLAGS


def _is_place(text: str) -> bool:
    return bool(_PATH.match(text) or _NAMED_PLACE.fullmatch(text))


def _may_be_cut(secret: str) -> bool:
    """Tell whether long parts of a secret are secrets, too.

    They are not if it begins like many other values; the secrets in such values are found by
    themselves. Nor are they if it has a long run of spaces, because every indented text has one.
    """
    begins_as_others = _URL.match(secret) or secret.startswith(("{", "[", "-----"))
    return not (begins_as_others or _INDENTED.search(secret) or _is_place(secret))


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms that a secret may have in messages, none of them empty."""
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
    """Yield the base64 of a secret, for each of the three places where it can begin."""
    raw = secret.encode(errors="surrogateescape")
    if len(raw) < _BASE64_FROM:
        return
    for before in range(3):
        # Only those characters count that hold bits of the secret and no others.
        begin, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw).decode()[begin:end]


def _is_word(text: str) -> bool:
    return len(text) < _SHORT or (len(text) < _WORDY and text.isalpha())


def _is_weak(text: str) -> bool:
    return len(text) < _WEAK and text.isalpha() and text[1:].islower()


def _as_word(text: str) -> str:
    """Return the pattern of a secret that is masked as a whole word only."""
    pattern = re.escape(text)
    if text[0].isalnum():
        # A word can also begin after an escape: \n, \x2f, \u002f, %2F.
        pattern = (
            r"(?:(?<!\w)|(?<=\\[abfnrtv])|(?<=\\x[0-9a-fA-F]{2})"
            r"|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
        ) + pattern
    return pattern + (r"(?!\w)" if text[-1].isalnum() else "")
