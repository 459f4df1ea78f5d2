"""The judge of the public projects: what it lets pass, and what it does not."""

from __future__ import annotations

import pytest

from .comparison import Verdict, judge

_PAGE = b"<p>%s</p><input name='token' value='%s'>"


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (b"<p>1</p>", [b"<p>1</p>", b"<p>1</p>"], Verdict.SAME),
        (b"<p>2</p>", [b"<p>1</p>", b"<p>1</p>"], Verdict.DIFFERENT),
        (b"<p>1</p> ", [b"<p>1</p>", b"<p>1</p>"], Verdict.DIFFERENT),
        (_PAGE % (b"1", b"c"), [_PAGE % (b"1", b"a"), _PAGE % (b"1", b"b")], Verdict.SAME_BUT),
        (_PAGE % (b"2", b"c"), [_PAGE % (b"1", b"a"), _PAGE % (b"1", b"b")], Verdict.DIFFERENT),
        (_PAGE % (b"1", b"c d"), [_PAGE % (b"1", b"a"), _PAGE % (b"1", b"b")], Verdict.DIFFERENT),
        (b"a b", [b"b a", b"b a", b"a b"], Verdict.SAME_BUT),
        (b"a c", [b"b a", b"b a", b"a b"], Verdict.DIFFERENT),
        (b"now, <b>1</b>", [b"now, <b>1</b>", b"1 minute ago, <b>1</b>"], Verdict.SAME_BUT),
        (b"0 minutes, <b>1</b>", [b"now, <b>1</b>", b"1 minute, <b>1</b>"], Verdict.SAME_BUT),
        (b"now, <b>2</b>", [b"now, <b>1</b>", b"1 minute ago, <b>1</b>"], Verdict.DIFFERENT),
        (b"x" * 30, [b"now", b"1 minute ago"], Verdict.DIFFERENT),
        (b"1 h, <b>1</b>", [b"now, <b>1</b>", b"now, <b>1</b>"], Verdict.DIFFERENT),
        (
            b"1 h, <b>1</b>",
            [b"now, <b>1</b>", b"now, <b>1</b>", b"2 h, <b>1</b>"],
            Verdict.SAME_BUT,
        ),
    ],
)
def test_only_what_varies_between_runs_of_gunicorn_may_differ(
    ours: bytes, theirs: list[bytes], verdict: Verdict
) -> None:
    assert judge(ours, theirs) is verdict
