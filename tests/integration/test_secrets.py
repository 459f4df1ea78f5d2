"""Whatever a site does with its secrets, none gets into log, pages, health or history by us.

One site puts them into all that the gateway tells of it; the tests look for them afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx
import pytest

from .actions import append, front, reload
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

KEY: Final = 'it\'s "q" 50% \\ of the key'
PASSWORD: Final = "pa@ss/w0rd"
QUOTED: Final = "pa%40ss%2Fw0rd"
TOKEN: Final = "tok_4f1c_and_so_on"
WEAK: Final = "postgres"
UNQUOTED: Final = "S3cr/etPart"
LONG: Final = "Lo8Ng" * 60
SECRETS: Final = (
    *(KEY, repr(KEY)[1:-1], json.dumps(KEY)[1:-1], PASSWORD, QUOTED, TOKEN),
    *UNQUOTED.split("/"),
    LONG[:20],
)
ENV: Final = {
    "SECRET_KEY": KEY,
    "DATABASE_URL": f"postgres://shop:{QUOTED}@db.example/shop",
    "PGPASSWORD": WEAK,
    "QUEUE_URL": f"amqp://shop:{UNQUOTED}@queue.example",
    "LONG_TOKEN": LONG,
    "ENVIRONMENT": "production",
    "FILES": "/srv/shop/static",
}
ORDINARY: Final = ("production", "/srv/shop/static", "django.db.backends.postgresql")

# The functions of the project; each place at which something goes wrong has a name of its own.
LEAK: Final = f"""
import atexit, os, threading, warnings
from django.db import connection
from urllib.parse import urlsplit, unquote

def leak(place):
    env = os.environ
    url = env["DATABASE_URL"]
    return " ".join([
        place, env["SECRET_KEY"], repr(env["SECRET_KEY"]), url, unquote(urlsplit(url).password),
        env["API_TOKEN"], "password=" + env["PGPASSWORD"], env["ENVIRONMENT"], env["FILES"],
        "{ORDINARY[2]}",
    ])

class Unspeakable(Exception):
    def __str__(self):
        raise ValueError(leak("at-str"))

def waiting(place):
    \"\"\"A function that waits for ever, in a file with a secret in its name.\"\"\"
    code = compile("def wait(event): event.wait()", leak(place), "exec")
    functions = {{}}
    exec(code, functions)
    return functions["wait"]
"""

VIEWS: Final = """
from core.leak import *

def raises(request):
    raise ValueError(leak("at-view"))

def closes(request):
    response = HttpResponse("fine")
    def close():
        raise ValueError(leak("at-close"))
    response.close = close
    return response

def hangs(request):
    waiting("at-hang")(threading.Event())

def warns(request):
    warnings.warn(leak("at-warning"))
    return HttpResponse("fine")

def starts_thread(request):
    def run():
        raise ValueError(leak("at-thread"))
    thread = threading.Thread(target=run, name=leak("at-name"))
    thread.start()
    thread.join()
    return HttpResponse("fine")

def connects(request):
    return HttpResponse(connection.vendor)

def parses(request):
    return HttpResponse(urlsplit(os.environ["QUEUE_URL"]).port)

def converts(request):
    return HttpResponse(int(os.environ["LONG_TOKEN"]))

def leaves(request):
    def leave():
        raise ValueError(leak("at-exit"))
    def leave_without_words():
        raise Unspeakable
    atexit.register(leave)
    atexit.register(leave_without_words)
    threading.Thread(
        target=threading.Event().wait, name=leak("at-survivor"), daemon=True
    ).start()
    return HttpResponse("fine")
"""
# The one that keeps its thread for ever comes first, for a seat to be given up on another.
PAGES: Final = (
    "hangs",
    "raises",
    "closes",
    "warns",
    "starts_thread",
    "connects",
    "parses",
    "converts",
    "leaves",
)

BACKEND: Final = """
from django.db.backends.sqlite3 import base
from core.leak import leak

class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, parameters):
        raise ValueError(leak("at-migrations"))

    def close(self):
        raise ValueError(leak("at-seat"))
"""

PLACES: Final = {
    "at-view": "a view's exception",
    "at-close": "close() of a response",
    "at-hang": "the stack of a request that hangs",
    "at-warning": "a warning",
    "at-thread": "an exception that ends a thread",
    "at-name": "the name of that thread",
    "at-migrations": "a database that cannot be asked",
    "at-seat": "a connection that cannot be closed",
    "at-exit": "an exit function",
    "at-survivor": "the name of a thread that goes on after the unload",
    "at-probe": "the probe of new code",
    "at-import": "an import",
    "at-load": "the stack of a load that hangs",
    "at-file": "the name of a file that has changed",
}


def leaky_site(folder: Path) -> BuiltSite:
    site = tiny_site(folder, "leaky", **ENV)
    core = site.folder / "core"
    (core / "leak.py").write_text(LEAK)
    (core / "base").mkdir()
    (core / "base/base.py").write_text(BACKEND)
    append(site, "core/views.py", VIEWS)
    pages = ", ".join(f"path({name!r}, views.{name})" for name in PAGES)
    append(site, "core/urls.py", f"\nurlpatterns += [{pages}]\n")
    append(
        site,
        "core/settings.py",
        "\nDEBUG_PROPAGATE_EXCEPTIONS = True"
        '\nDATABASES = {"default": {"ENGINE": "core.base", "NAME": ":memory:"}}\n',
    )
    secrets = folder / "secrets.env"
    secrets.write_text(f"API_TOKEN={TOKEN}\n")
    limits = {
        "request_timeout": 1,
        "drain_timeout": 0.1,
        "load_timeout": 5,
        "max_survivors": 1,
    }
    more = {"env_file": str(secrets), "migrations": "warn", "limits": limits}
    return BuiltSite(site.name, {**site.entry, **more})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that is told of a site that has had every accident."""
    folder = tmp_path_factory.mktemp("leaky")
    site = leaky_site(folder)
    # The same code, watched, with a module in a file of a secret name.
    watched = folder / "watched"
    other = leaky_site(watched)
    module = other.folder / f"core/at-file {TOKEN}.py"
    module.write_text("")
    append(
        other,
        "core/views.py",
        "\nfrom importlib import util"
        f"\nspec = util.spec_from_file_location('named', {str(module)!r})"
        "\nspec.loader.exec_module(util.module_from_spec(spec))\n",
    )
    entry = {**other.entry, "hosts": ["watched.localhost"], "watch": True}
    home = folder / "gateway"
    home.mkdir()
    sites = {site.name: site.entry, "watched": entry}
    with Gateway(home, sites, {"GATEWAY_LOAD_RETRY": "0.1"}, PROTOCOL) as gateway:
        client = gateway.client(site.host)
        answers = [client.get(f"/{page}").status_code for page in PAGES]
        assert answers == [504, 500, 200, 200, 200, 200, 500, 500, 200]
        texts = []

        def fails(code: str, file: str = "core/views.py") -> None:
            undo = append(site, file, code)
            answer = reload(gateway, site)
            assert answer.status_code == 500, answer.text
            undo()
            texts.extend([answer.text, json.dumps(gateway.health(site.name))])

        fails("\nraise ValueError(leak('at-import'))\n")
        fails("\nwaiting('at-load')(threading.Event())\n")
        fails("\ndef front(request): raise ValueError(leak('at-probe'))\n")
        assert reload(gateway, site).status_code == 200
        until(lambda: "at-exit" in gateway.output, "the old code is unloaded")
        # One generation with a thread that goes on is one too many.
        until(lambda: _is_refused(reload(gateway, site)), "no further reload")
        texts += [json.dumps(gateway.health(each)) for each in (site.name, "")]

        assert gateway.client("watched.localhost").get("/").status_code == 200
        module.write_text("# changed\n")
        until(lambda: "reloading for changes in" in gateway.output, "it sees the change")
        operator = gateway.operator()
        texts += [operator.get(path).text for path in ("/", "/_health", "/_history?limit=1000")]
        assert front(gateway, site).status_code == 200
        return "\n".join([gateway.output, *(_lines(text) for text in texts)])


def _is_refused(answer: httpx.Response) -> bool:
    return "max_survivors is 1" in answer.text


def _lines(text: str) -> str:
    """JSON as people read it: a text of several lines on several lines."""
    return text.replace("\\n", "\n").replace("\\u2026", "…")


@pytest.mark.parametrize("place", PLACES, ids=PLACES.values())
def test_it_is_told_without_secrets(told: str, place: str) -> None:
    lines = [line for line in told.splitlines() if f"{place} " in line]
    assert lines, f"nothing is told of {PLACES[place]}"
    for line in lines:
        assert not any(secret in line for secret in SECRETS), line
        assert "password=postgres" not in line
    if place != "at-file":
        assert all(word in lines[0] for word in ORDINARY), lines[0]
    assert "********" in lines[0]


def test_no_secret_is_anywhere(told: str) -> None:
    assert [secret for secret in SECRETS if secret in told] == []


def test_what_python_makes_of_a_secret_is_told_without_it(told: str) -> None:
    assert "Port could not be cast to integer value as '********'" in told
    assert "invalid literal for int() with base 10: '********" in told


def test_an_exception_without_words_does_not_stop_the_unload(told: str) -> None:
    assert "raised Unspeakable: <exception str() failed>" in told
    assert "at-str" not in told
