"""``logging``: each program has its own loggers, handlers and levels."""

from __future__ import annotations

import logging

from gateway.namespace import Namespace

from .worlds import Program, load

CONFIG = """
import io, logging, logging.config
out = io.StringIO()
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": True,
    "formatters": {"short": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "short", "stream": out}},
    "root": {"handlers": ["out"], "level": "INFO"},
    "loggers": {"quiet": {"level": "ERROR"}},
})
"""


def test_dict_config(program: Program) -> None:
    assert program(
        {"handlers.py": "import logging\nclass Mine(logging.StreamHandler): pass"},
        "import logging\nbefore = logging.getLogger('before')"
        + CONFIG
        + """
logging.getLogger("shop").info("one %s", 1)
logging.getLogger("quiet").info("two")
before.error("three")
logging.config.dictConfig({
    "version": 1,
    "handlers": {"own": {"()": "handlers.Mine"}, "ext": {"class": "handlers.Mine", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["own", "ext"]},
})
result = [out.getvalue(), [type(h).__name__ for h in logging.getLogger().handlers]]
""",
    ) == ["INFO shop one 1\n", ["Mine", "Mine"]]


def test_what_a_record_tells(program: Program) -> None:
    assert program(
        {"shop.py": "import logging\n\ndef work():\n    logging.getLogger(__name__).warning('x')"},
        """
        import io, logging, os, shop
        out = io.StringIO()
        form = "%(filename)s:%(lineno)d %(funcName)s %(module)s %(name)s"
        logging.basicConfig(stream=out, format=form)
        shop.work()
        logging.getLogger("a").warning("x", stacklevel=1)
        result = out.getvalue().split("\\n")
        """,
    ) == ["shop.py:4 work shop shop", "main.py:6 <module> main a", ""]


def test_exceptions_and_adapters(program: Program) -> None:
    assert program(
        {},
        """
        import io, logging, logging.handlers, queue
        out = io.StringIO()
        logging.basicConfig(stream=out, format="%(message)s")
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("failed")
        logging.LoggerAdapter(logging.getLogger("x"), {"a": 1}).error("adapted")
        records = queue.Queue()
        listener = logging.handlers.QueueListener(records, logging.StreamHandler(out))
        listener.start()
        logging.handlers.QueueHandler(records).handle(logging.makeLogRecord({"msg": "queued"}))
        listener.stop()
        lines = out.getvalue().split("\\n")
        result = [lines[0], lines[1], lines[-3], lines[-2]]
        """,
    ) == ["failed", "Traceback (most recent call last):", "adapted", "queued"]


def test_two_namespaces_and_the_process(hooks: None) -> None:
    """``disable_existing_loggers`` silences nobody else."""
    outer = logging.getLogger("shop")
    try:
        spaces = [Namespace(name) for name in "ab"]
        first = load(spaces[0], f"import logging\nshop = logging.getLogger('shop'){CONFIG}")
        second = load(spaces[1], f"import logging\nshop = logging.getLogger('shop'){CONFIG}")
        assert first["shop"].disabled and second["shop"].disabled and not outer.disabled
        load(spaces[0], "import logging; logging.getLogger('other').info('in a')")
        assert first["out"].getvalue() == "INFO other in a\n"
        assert second["out"].getvalue() == ""
        assert first["logging"].getLogger("shop") is not second["logging"].getLogger("shop")
        load(spaces[0], "import logging; logging.disable()")
        load(spaces[1], "import logging; logging.getLogger('other').info('in b')")
        assert second["out"].getvalue() == "INFO other in b\n"
        assert logging.root.manager.disable == 0
    finally:
        for space in spaces:
            assert space.close() == []
