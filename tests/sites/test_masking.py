"""Keeping a site's environment out of what is shown."""

from __future__ import annotations

import base64
import json
import random
import re
import reprlib
import string
import textwrap
from collections.abc import Callable, Set
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.sites import masking
from gateway.sites.masking import MASK, Mask, is_secret_name, looks_random, secrets_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("open-sesame", "connecting with open-sesame failed"),
        ("open-sesame", "ValueError('open-sesame')"),
        ("two\nlines-here", "invalid value 'two\\nlines-here'"),
        ("-----BEGIN KEY-----\nMIIEvQIBADAN\n", "cannot decode MIIEvQIBADAN"),
        ("postgres://joe:pa%40ssword@db/shop", "password pa@ssword refused"),
        ("postgres://joe:pa%40ssword@db/shop", "password pa%40ssword refused"),
    ],
)
def test_no_form_of_a_value_gets_through(value: str, shown: str) -> None:
    masked = Mask({"SECRET": value})(shown)
    assert MASK in masked
    for part in ("open-sesame", "lines-here", "MIIEvQIBADAN", "ssword r"):
        assert part not in masked.replace("password r", "")


def test_a_value_within_another_does_not_leave_the_rest_of_it_readable() -> None:
    mask = Mask({"OLD_TOKEN": "secret", "TOKEN": "secret-and-more"})
    assert mask("secret-and-more, secret") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "true"),
        ("PORT", "5432"),
        ("EMPTY", ""),
        ("DJANGO_SETTINGS_MODULE", "core.settings"),
        ("VIRTUAL_ENV", "/srv/shop/.venv"),
        ("HOME", "/home/shop"),
        ("LC_ALL", "C.UTF-8"),
    ],
)
def test_what_a_traceback_needs_to_be_read_stays(name: str, value: str) -> None:
    text = f"File '{value}/x.py', line 1: {value}"
    assert Mask({name: value})(text) == text


def test_a_value_that_is_no_valid_url_is_masked_all_the_same() -> None:
    assert Mask({"SECRET": "http://[oops"})("at http://[oops") == f"at {MASK}"


@pytest.mark.parametrize(
    "name",
    [
        "SECRET_KEY", "SECRET_KEY_2", "API_TOKEN", "APIKEY", "apiKey", "PGPASSWORD", "DBPASS",
        "DB_PWD", "AWS_ACCESS_KEY_ID", "SENTRY_DSN", "PASSWORD_SALT", "PRIVATE", "smtpPassword",
        "GOOGLE_APPLICATION_CREDENTIALS", "REDISCLI_AUTH", "SECRET_KEY_FALLBACKS", 
        "spring.password", "SECRETKEY", "AUTHTOKEN", "ACCESSKEY", "AWSSECRETACCESSKEY", "PSK",
        "WIFI_PSK", "PASSPHRASE", "GPGPASSPHRASE", "PASSWORD_ROOT", "PASSWORD_SERVER",
        "AUTH_HEADER", "SECRET_NAME", "AUTH", "AUTH_2", "HTTP_AUTH", "PRIVATE_PEM",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "ENVIRONMENT", "DEBUG", "AUTHOR", "AUTHOR_EMAIL", "DATABASE_URL", "KEYBOARD", "TOKENIZERS",
        "PWD", "AUTH_USER_MODEL", "SECRET_KEY_FILE", "PASSWORD_RESET_TIMEOUT", "KEY_PREFIX",
        "PASSENGERS", "SITE", "DB_NAME", "PGUSER", "", "MONKEY_ISLAND", "TURKEY_OFFICE",
        "HOCKEY_LEAGUE", "COMPASS_HEADING", "BYPASS_CACHE", "WHISKEY", "BASALT",
        "AUTH_LDAP_SERVER_URI", "AUTH_LDAP_BIND_DN", "PRIVATE_NETWORKS", "SSH_AUTH_SOCK",
        "AUTH_HEADER_NAME", "TOKEN_COOKIE_NAME", "AUTH_SERVER", "KEY_COLUMN", "NAME", "SIGNATURE",
    ],
)  # fmt: skip
def test_names_of_what_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "value",
    [
        "production", "core.settings", "core.settings.production_eu", "shop.example", "postgres",
        "db-1.internal.shop.example:5432", "/srv/shop/static", "true", "info@shop.example",
        "Shop <orders+2024@shop.example>", "en-GB,de-DE,fr", "sqlite:////srv/shop/db.sqlite3",
        "redis://cache.internal:6379/1", "https://shop.example/static/?v=20240101&lang=en",
        "oauth2.OAuth2ClientCredentialsGrantV2", "django.db.backends.postgresql", "Europe/London",
        "/srv/shop/releases/3f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a/static",
        "/nix/store/4k2hpw6jm3qbvxz1l8r9s7d5f0c2a1bn-python3-3.13/bin:/usr/bin",
        "task-scheduler-queue-of-the-shop", "2024-01-01T12:00:00+00:00", "INFO,WARNING",
        "10.0.0.0/8", "http://[::1]:8080/@x", "https://registry.example:5000/image@sha256",
        "https://social.example/@user?x=a:b", "mongodb://a:27017,b:27017/db?mail=x@shop.example",
        "https://api.example/?signal=strong&monkey=banana",
        '{"level": "INFO", "handlers": ["console"]}', "*/5 * * * *", "host=db.internal port=5432",
    ],
)  # fmt: skip
def test_what_looks_ordinary_is_no_secret(value: str) -> None:
    assert secrets_of({"SETTING": value, "OTHER": value}) == frozenset()


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.dozjgNryP4J3jVmNHl0w5N"
HEX = "9b74c9897bac770ffc029102a200c5de"
LOOKS = {
    "a URL with a password": ("postgres://joe:open-sesame@db/shop", "open-sesame"),
    "a URL with a quoted password": ("postgres://joe:open%2Dsesame@db/shop", "open-sesame"),
    "a password with a slash": ("postgres://joe:open/sesame@db/shop", "open/sesame"),
    "one of several URLs": ("redis://a:6379,redis://:open-sesame@b", "open-sesame"),
    "a password with a hash": ("redis://:Fl0wer#Garden99@h", "Fl0wer#Garden99"),
    "a password with a question mark": ("amqp://bob:w4ter?fall77@h", "w4ter?fall77"),
    "a password with digits to a slash": ("redis://:123/abcd@h", "123/abcd"),
    "a password with an at sign and a slash": ("postgres://u:p@ss/word@h", "p@ss/word"),
    "what a password with a slash falls into": ("postgres://u:S3cr/etPart@h", "S3cr"),
    "the rest of that": ("postgres://u:S3cr/etPart@h", "etPart"),
    "what a quoted one falls into": ("postgres://u:S3cr%2FetPart@h", "S3cr"),
    "a signature in a query": ("https://api.example/?x=1&sig=hunter2hunter", "hunter2hunter"),
    "a signature of Amazon": ("https://s3.example/a?X-Amz-Signature=hunter2hunt", "hunter2hunt"),
    "a token with a comma": ("https://api.example/?token=hunter2,hunter3&x=1", "hunter2,hunter3"),
    "a key in a query": ("https://api.example/?key=hunter2hunter", "hunter2hunter"),
    "a quoted token": ("https://api.example/?token=hunter2%21hunter", "hunter2!hunter"),
    "a URL with a token": (f"https://{HEX}@sentry.example/1", HEX),
    "a token in a query": ("https://api.example/?api_key=open-sesame&x=1", "open-sesame"),
    "a connection string": ("host=db password='open sesame' port=5432", "open sesame"),
    "an ODBC string": ("Server=db;Password=open-sesame;Port=1", "open-sesame"),
    "a private key": (
        "-----BEGIN RSA PRIVATE KEY-----\nopen sesame\n-----END RSA PRIVATE KEY-----",
        "open sesame",
    ),
    "a JSON Web Token": (JWT, JWT),
    "an AWS key": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "a digest": (HEX, HEX),
    "a webhook": (
        f"https://hooks.example/services/T0001/{HEX}",
        HEX,
    ),
    "a secret in JSON": ('{"db": {"password": "open-sesame"}}', "open-sesame"),
    "a URL in JSON": ('["amqp://joe:open-sesame@queue"]', "open-sesame"),
    "a key as Django makes them": (
        "django-insecure-r9$k(2=x&q!7v#m*z0^d5w",
        "django-insecure-r9$k(2=x&q!7v#m*z0^d5w",
    ),
}


@pytest.mark.parametrize(("value", "secret"), LOOKS.values(), ids=LOOKS)
def test_what_looks_like_a_secret_is_one_whatever_its_name(value: str, secret: str) -> None:
    masked = Mask({"SETTING": value})(f"could not use {secret!r} ({secret})")
    assert secret not in masked
    assert masked == f"could not use '{MASK}' ({MASK})"


@pytest.mark.parametrize("length", [20, 32, 64])
@pytest.mark.parametrize(
    "alphabet",
    [
        string.ascii_letters + string.digits,
        string.ascii_letters + string.digits + "-_",
        "0123456789abcdef",
    ],
    ids=["base62", "URL-safe base64", "hexadecimal"],
)
def test_what_a_machine_makes_looks_random(alphabet: str, length: int) -> None:
    chance = random.Random(length)
    made = ["".join(chance.choices(alphabet, k=length)) for _ in range(1000)]
    assert sum(map(looks_random, made)) > 975


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user postgres", f"user {MASK}"),
        ("postgres:postgres@db", f"{MASK}:{MASK}@db"),
        ("'\\npostgres'", f"'\\n{MASK}'"),
        ("%3Apostgres%40", f"%3A{MASK}%40"),
        ("django.db.backends.postgresql", "django.db.backends.postgresql"),
        ("postgres_backend", "postgres_backend"),
    ],
)
def test_a_secret_that_is_a_word_is_masked_as_a_word(text: str, shown: str) -> None:
    assert Mask({"PASSWORD": "postgres"})(text) == shown


@given(st.text("abcXYZ0189/?#@:%&=.-", min_size=4, max_size=30), st.sampled_from(["", "bob"]))
@example("&b9.=@::Y%Y%/", "")
@example("%3A&a=@:%3AXXXX://", "bob")
def test_no_password_of_a_url_is_left_nor_what_it_falls_into(password: str, user: str) -> None:
    # A host with a port, or a password that has an end before a query.
    assume(not (user and re.match(r"\d*([/?#]|$)", password)))
    assume(not re.search(r"@.*[?&][\w.-]+=", password))
    url = f"redis://{user}:{password}@cache.example/0"
    mask = Mask({"SETTING": url})
    assert password not in mask(f"{password} of {url}")
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError as error:
        shown = mask(str(error))
        pieces = [piece for piece in re.split("[/?#@:]", password) if len(piece) >= 4]
        assert not any(piece in shown for piece in pieces)


TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.13/site-packages/django/contrib/admin/sites.py", line 1, in core
    return self.admin_view(request)
  File "core/wsgi.py", line 4711, in line
django.core.exceptions.ImproperlyConfigured: see /srv/my-shop/core/urls.py and admin.py
"""


@pytest.mark.parametrize(
    "word", ["django", "admin", "core", "shop", "line", "root", "last", "most", "File", "4711"]
)
def test_a_word_that_is_a_password_leaves_a_traceback_as_it_is(word: str) -> None:
    assert Mask({"PASSWORD": word})(TRACEBACK) == TRACEBACK


@pytest.mark.parametrize(
    "shown",
    [
        "'{}'", '"{}"', "password={}", "password: {}", "password {} refused", "{}", "is {}.",
        "redis://:{}@cache.example/0", "https://u:{}@h/", "https://api.example/{}/send",
        "path:{}/x", "({})", "\\n{}", "in {}", '", in {}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("word", ["django", "admin", "line"])
def test_a_word_that_is_a_password_is_masked_elsewhere(word: str, shown: str) -> None:
    masked = Mask({"PASSWORD": word})(shown.format(word))
    assert masked == shown.format(MASK)


@pytest.mark.parametrize("secret", ["hunter2", "ab1cd", "hUnTeR", "abracadabras"])
def test_a_better_password_is_masked_in_places_as_well(secret: str) -> None:
    text = 'File "/srv/{0}/x.py", line 1, in {0}\n{0}.x'
    assert Mask({"PASSWORD": secret})(text.format(secret)) == text.format(MASK)


def test_of_a_password_the_pieces_that_are_words_stay() -> None:
    assert Mask({"DB_PASSWORD": "S3cr/etP4rt/shop"})("S3cr etP4rt shop") == f"{MASK} {MASK} shop"
    assert Mask({"SSL_KEY": "/etc/ssl2/key1.pem"})("ssl2 key1.pem") == "ssl2 key1.pem"


LONG = "L" + "o8Ng" * 80


@pytest.mark.parametrize(
    "show",
    [
        lambda text: _message_of(int, text),
        lambda text: _short_repr(text, 60),
        lambda text: base64.encodebytes(f"user:{text}".encode()).decode(),
        lambda text: textwrap.fill(text, 40),
    ],
    ids=["int", "reprlib", "base64 in lines", "in lines"],
)
def test_what_is_cut_off_a_long_secret_is_masked(show: Callable[[str], str]) -> None:
    for secret in (LONG, "".join(random.Random(1).choices(string.ascii_letters, k=400))):
        shown, form = show(secret), base64.b64encode(f"user:{secret}".encode()).decode()
        masked = Mask({"LONG_TOKEN": secret})(shown)
        for text in (secret, form[8:]):
            runs = {text[at : at + 20] for at in range(len(text) - 19)}
            assert any(run in masked for run in runs) is False


def _message_of(function: Callable[[str], object], text: str) -> str:
    with pytest.raises(ValueError) as caught:
        function(text)
    return str(caught.value)


def _short_repr(text: str, length: int) -> str:
    short = reprlib.Repr()
    short.maxstring = length
    return short.repr(text)


@given(st.text("abc1-", min_size=20, max_size=60), st.data())
def test_each_run_of_a_long_secret_is_masked_and_no_more(secret: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(secret) - 20))
    end = data.draw(st.integers(begin + 20, len(secret)))
    before = data.draw(st.text("xyz ", max_size=30))
    assume(len(secret.strip()) >= 20)
    masked = Mask({"SECRET": secret})(f"{before}|{secret[begin:end]}|{before}")
    assert masked == f"{before}|{MASK}|{before}"


def test_what_many_begin_with_is_no_cut_secret() -> None:
    mask = Mask(
        {
            "WEBHOOK_TOKEN": "https://hooks.example/services/for/the/shop/open-sesame",
            "AUTH_FIRST": "django.contrib.auth.backends.ModelBackend",
            "SSL_KEY": "/etc/ssl/private/keys/of/the/shop/key.pem",
        }
    )
    for text in (
        "https://hooks.example/services/for/the/others",
        "django.contrib.auth.backends.RemoteUserBackend",
        "/etc/ssl/private/keys/of/the/others",
    ):
        assert mask(text) == text


def test_it_looks_at_each_character_a_few_times_only() -> None:
    """A million of them: what is not linear does not end."""
    mask = Mask(
        {"A_TOKEN": LONG, "B_TOKEN": "k" * 50, "C_PASSWORD": "admin", "D_PASSWORD": "hunter2"}
    )
    for text in (
        "k",
        "o8Ng",
        "admin ",
        "admin/",
        "a.",
        ' File "',
        ", in a",
        "|  ",
        "\n",
        '", line 1',
    ):
        mask(text * (1_000_000 // len(text)))
    for text in ("a://", "a://u:@", "?a=", "/#", "1:1,", "a.", "@"):
        secrets_of({"KEY": "a://u:" + text * (100_000 // len(text)) + "@h"})


DOCS = Path(__file__).parents[2] / "docs/sites-json.md"


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        ("has one of these words:", masking.SECRET_WORDS),
        ("end like this count, too:", set(masking.SECRET_ENDS)),
        ("count only behind others:", set(masking.JOINED_WORDS)),
        ("These are the others:", set(masking.JOINED_BEFORE)),
        ("count as adjectives:", masking.SECRET_ADJECTIVES),
        ("speak about a secret:", masking.DESCRIPTIONS),
        ("speak about other things:", masking.CIRCUMSTANCES),
        ("may also be one of these:", masking.SECRET_PARAMETERS),
    ],
)
def test_the_documentation_lists_the_words(begin: str, words: Set[str]) -> None:
    listed = DOCS.read_text().partition(begin)[2].partition(".")[0]
    assert listed.count("`") % 2 == 0
    assert sorted(re.findall("`([A-Z]+)`", listed)) == sorted(word.upper() for word in words)


@pytest.mark.parametrize("value", ["1", "on", "abc", "true", "None", "  "])
def test_what_would_make_texts_unreadable_is_no_secret(value: str) -> None:
    assert secrets_of({"TOKEN": value}) == frozenset()


def test_each_of_a_list_and_the_password_of_a_pair() -> None:
    mask = Mask({"API_KEYS": "open-sesame, abracadabra-1", "HTTP_AUTH": "joe:hocus-pocus"})
    assert mask("open-sesame abracadabra-1 hocus-pocus joe") == f"{MASK} {MASK} {MASK} joe"


# A secret that is no word, of any characters that a variable can hold.
SECRET = st.text(
    st.characters(exclude_characters="\0*", exclude_categories=["Cs"]), min_size=8, max_size=60
).filter(lambda text: len(text.strip()) >= 8 and not text.strip().isalpha())
FORMS = {
    "raw": str,
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "ascii": lambda text: ascii(text)[1:-1],
    "JSON": lambda text: json.dumps(text)[1:-1],
    "quoted": lambda text: quote(text, safe=""),
    "on one line": lambda text: " ".join(text.split()),
    "base64 amid other things": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}
AROUND = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), max_size=20)


@given(SECRET, AROUND, AROUND, st.sampled_from(sorted(FORMS)))
@example("0" * 7 + " ", "", "", "raw")
@example("a" + " " * 20 + "b", "", "", "raw")
def test_no_form_of_a_secret_is_left(secret: str, before: str, after: str, form: str) -> None:
    shown = FORMS[form](secret)
    if (
        len(shown) < 8
        or shown.isalpha()
        or (form.startswith("base64") and len(secret.encode()) < 12)
    ):
        return  # as short, or as much a word, as is masked only where it stands alone
    masked = Mask({"SECRET": secret})(before + shown + after)
    assert MASK in masked
    assert shown not in masked


@given(st.lists(st.sampled_from(["abcabc12", "bc12abca", "12abcabc", "abcabc12abc"]), min_size=1))
def test_of_secrets_that_overlap_nothing_is_left(secrets: list[str]) -> None:
    mask = Mask({f"KEY_{number}": secret for number, secret in enumerate(secrets)})
    for text in ("abcabc12abcabc12abc", *secrets, "".join(secrets)):
        masked = mask(text)
        assert not any(secret in masked for secret in secrets)
        covered = [False] * len(text)
        for secret in secrets:
            for at in range(len(text)):
                if text.startswith(secret, at):
                    covered[at : at + len(secret)] = [True] * len(secret)
        left = "".join(char for char, hidden in zip(text, covered, strict=True) if not hidden)
        assert masked.replace(MASK, "") == left


@given(AROUND, SECRET)
def test_a_text_without_secrets_is_unchanged(text: str, secret: str) -> None:
    if not any(char in text for char in secret):
        assert Mask({"SECRET": secret})(text) == text
    assert Mask({"SETTING": "production", "PATH": "/usr/bin"})(text) == text
