from __future__ import annotations

import logging

import pytest

from gateway import log


@pytest.fixture(autouse=True)
def handlers_of_pytest_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("gateway"), "propagate", False)


def test_records_are_shown_with_the_time_when_nobody_has_configured_logging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log.visible():
        logging.getLogger("gateway.site").info("shop: loaded")
    logging.getLogger("gateway.site").info("not any more")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO gateway.site: shop: loaded")
    assert line[:4].isdigit()
    assert not logging.getLogger("gateway").handlers


def test_a_configuration_of_ones_own_is_left_alone() -> None:
    own = logging.NullHandler()
    logger = logging.getLogger("gateway")
    logger.addHandler(own)
    try:
        with log.visible():
            assert logger.handlers == [own]
            assert logger.level == logging.NOTSET
    finally:
        logger.removeHandler(own)
