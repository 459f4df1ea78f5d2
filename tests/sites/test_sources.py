"""What counts as a change of what code was made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.sites.sources import Sources, Tree


@pytest.fixture
def sources() -> Sources:
    return Sources()


@pytest.fixture
def file(sources: Sources, tmp_path: Path) -> Path:
    """A file that has been read."""
    file = tmp_path / "views.py"
    file.write_text("1")
    sources.add(str(file))
    return file


def test_a_file_that_changes_goes_and_comes_back_is_told_once_each(
    sources: Sources, file: Path
) -> None:
    assert sources.changed() == []
    file.write_text("12")
    assert sources.changed() == [str(file)]
    assert sources.changed() == []
    file.unlink()
    assert sources.changed() == [str(file)]
    assert sources.changed() == []
    file.write_text("12")
    assert sources.changed() == [str(file)]


def test_a_file_of_the_same_size_and_time_is_told_by_its_inode(
    sources: Sources, tmp_path: Path
) -> None:
    file, draft = tmp_path / "views.py", tmp_path / "draft"
    for path, text in ((file, "1"), (draft, "2")):
        path.write_text(text)
        os.utime(path, (1, 1))
    sources.add(str(file))
    draft.replace(file)
    assert sources.changed() == [str(file)]


def test_a_change_between_reading_and_the_first_question_is_told(
    sources: Sources, file: Path
) -> None:
    file.write_text("12")
    assert sources.changed() == [str(file)]


def test_a_folder_counts_by_where_it_leads_alone(sources: Sources, tmp_path: Path) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "one")
    sources.add(str(current))
    (tmp_path / "one/db.sqlite3").write_text("")
    assert sources.changed() == []
    current.unlink()
    current.symlink_to(tmp_path / "two")
    assert sources.changed() == [str(current)]


def test_in_a_tree_files_with_its_suffixes_count_also_new_ones(
    sources: Sources, tmp_path: Path
) -> None:
    (tmp_path / "old.html").write_text("")
    sources.add_trees([Tree(str(tmp_path), frozenset({".html"}))])
    assert sources.changed() == []
    (tmp_path / "db.sqlite3").write_text("")
    (tmp_path / "sub").mkdir()
    assert sources.changed() == []
    (tmp_path / "sub/new.html").write_text("")
    (tmp_path / "old.html").unlink()
    assert sources.changed() == [str(tmp_path / "old.html"), str(tmp_path / "sub/new.html")]
    assert sources.changed() == []


def test_in_a_tree_nothing_counts_that_people_do_not_write(
    sources: Sources, tmp_path: Path
) -> None:
    folders = [".git", "__pycache__", "node_modules", "environment", "media"]
    for folder in folders:
        (tmp_path / folder).mkdir()
    (tmp_path / "environment/pyvenv.cfg").write_text("")
    left_out = frozenset({str(tmp_path / "media"), str(tmp_path / "debug.txt")})
    sources.add_trees([Tree(str(tmp_path), frozenset({".txt"}), left_out)])
    for place in [*folders, "."]:
        (tmp_path / place / "debug.txt").write_text("")
    assert sources.changed() == []


def test_what_a_later_attempt_saw_counts_from_then_on(sources: Sources, tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("1")
    second.write_text("1")
    sources.add(str(first))
    sources.add(str(second))
    first.write_text("1 +")
    later = Sources()
    later.add(str(first))
    sources.take(later)
    assert sources.changed() == []
    second.write_text("12")
    first.write_text("1 + 1")
    assert sources.changed() == [str(first), str(second)]
