"""``__main__``: the module of the script."""

from __future__ import annotations

from .worlds import Program


def test_is_in_sys_modules(program: Program) -> None:
    assert program(
        {"a.py": "import __main__\ndef get(): return __main__.value"},
        """
        import __main__, a, sys
        value = 7
        result = [
            __name__, sys.modules["__main__"] is __main__, vars(__main__) is globals(), a.get(),
            __main__.__spec__, __package__, __file__ == sys.argv[0], type(__main__) is type(sys),
            __builtins__ is sys.modules["builtins"], __main__.__doc__,
        ]
        """,
    ) == ["__main__", True, True, 7, None, None, True, True, True, None]


def test_docstring_annotations_and_future(program: Program) -> None:
    assert program(
        {},
        '''
        """What it is for."""
        from __future__ import annotations
        x: int = 1
        import sys
        result = [__doc__, sys.modules[__name__].__annotations__]
        ''',
    ) == ["What it is for.", {"x": "int"}]


def test_is_imported_again_under_its_own_name(program: Program) -> None:
    """The script is not the module of its name (a classic)."""
    assert program(
        {},
        """
        class Thing: pass
        if __name__ == "__main__":
            import main
            result = [main.Thing is Thing, main.__name__]
        """,
    ) == [False, "main"]


def test_pickle(program: Program) -> None:
    assert program(
        {},
        """
        import pickle, sys
        class Thing: pass
        copy = pickle.loads(pickle.dumps(Thing()))
        result = [type(copy) is Thing, type(pickle._loads(pickle._dumps(Thing()))) is Thing]
        result.append(sys.modules[Thing.__module__] is sys.modules["__main__"])
        """,
    ) == [True, True, True]


def test_arguments(program: Program) -> None:
    assert program(
        {},
        """
        import argparse, os, sys
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", type=int)
        parser.add_argument("words", nargs="*")
        options = parser.parse_args()
        result = [options.size, options.words, parser.prog, os.path.basename(sys.argv[0])]
        result.append(sys.argv[1:])
        """,
        args=["--size", "3", "a", "b"],
    ) == [3, ["a", "b"], "main.py", "main.py", ["--size", "3", "a", "b"]]


def test_other_readers_of_the_arguments(program: Program) -> None:
    assert program(
        {"text.txt": "one\ntwo\n"},
        """
        import fileinput, optparse, os, sys
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        result = [[line.strip() for line in fileinput.input()]]
        sys.argv[1:] = ["-x"]
        parser = optparse.OptionParser()
        parser.add_option("-x", action="store_true")
        result += [parser.parse_args()[0].x, parser.get_prog_name()]
        """,
        args=["text.txt"],
    ) == [["one", "two"], True, "main.py"]


def test_the_path_begins_with_its_folder(program: Program) -> None:
    assert program(
        {},
        """
        import os, sys
        result = [sys.path[0] == os.path.dirname(os.path.abspath(__file__))]
        result.append([entry for entry in sys.path if not isinstance(entry, str)])
        """,
    ) == [True, []]
