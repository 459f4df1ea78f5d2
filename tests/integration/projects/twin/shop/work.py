"""Pages that import while they answer, themselves and in threads."""

import importlib
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

from django.http import HttpRequest, JsonResponse
from django.template.loader import render_to_string

from shop.answers import answer
from shop.items import Colour, Item

POOL = ThreadPoolExecutor(2)


def import_late(request: HttpRequest, number: int) -> JsonResponse:
    """Modules that nobody has imported before."""
    by_name = importlib.import_module(f"shop.late.part{number:02}")
    relative = importlib.import_module(f".late.part{number:02}", package="shop")

    from core import late_settings

    from . import later

    assert by_name is relative
    return answer(by_name.MARKER, by_name.where(), late_settings.MARKER, later.MARKER)


def import_in_thread(request: HttpRequest, number: int) -> JsonResponse:
    """The same in a thread that the view starts, and in one of a pool."""
    found: list[str] = []

    def look() -> None:
        from shop.late import in_thread

        part = importlib.import_module(f"shop.late.thread{number:02}")
        found.extend((in_thread.MARKER, in_thread.from_environ(), part.MARKER, part.where()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    POOL.submit(look).result()
    assert len(found) == 8, found
    return answer(*found)


def unpickle_in_pool(request: HttpRequest) -> JsonResponse:
    """No frame of the project is on the stack of a pool's thread that runs ``pickle.loads``."""
    blob = pickle.dumps([Item("tea", Colour.OWN), Colour.OWN, Item])
    with ThreadPoolExecutor(1) as pool:
        copies = [one.submit(pickle.loads, blob).result() for one in (pool, POOL)]
    for item, colour, cls in copies:
        assert type(item) is cls is Item
        assert colour is Colour.OWN
        assert item == Item("tea", Colour.OWN)
    return answer(*(item.maker for item, _, _ in copies), *(cls.MAKER for _, _, cls in copies))


def render_template(request: HttpRequest) -> JsonResponse:
    """A template whose tag imports when it is drawn."""
    return answer(*render_to_string("shop/page.txt").split())
