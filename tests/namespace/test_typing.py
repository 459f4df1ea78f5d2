"""``typing``, ``dataclasses``, ``enum``: names in strings, looked up by the name of a module."""

from __future__ import annotations

from .worlds import Program

MODELS = {
    "shop/__init__.py": "",
    "shop/kinds.py": "class Tea: pass\nclass Cup: pass",
    "shop/models.py": """
        from __future__ import annotations
        import dataclasses, typing
        from dataclasses import KW_ONLY, InitVar, dataclass, field
        from typing import ClassVar, NamedTuple, Optional, TypedDict
        from shop.kinds import Tea
        from shop import kinds
        @dataclass
        class Order:
            tea: Tea
            cups: list[kinds.Cup] = field(default_factory=list)
            count: ClassVar[int] = 0
            other: typing.ClassVar[int] = 1
            times: InitVar[int] = 1
            more: dataclasses.InitVar[int] = 2
            _: KW_ONLY
            parent: Optional[Order] = None
            def __post_init__(self, times, more): self.total = times * more
        class Base:
            size: Tea
        class Row(NamedTuple):
            tea: Tea
            n: int = 3
        class Movie(TypedDict, total=False):
            tea: Tea
        def serve(tea: Tea, *cups: kinds.Cup) -> Optional[Order]: ...
        """,
}


def test_get_type_hints(program: Program) -> None:
    assert program(
        MODELS,
        """
        import typing
        from shop import kinds, models
        class Child(models.Base):
            extra: "models.Order"
        hints = typing.get_type_hints
        result = [
            hints(models.serve)["tea"] is kinds.Tea, hints(models.serve)["cups"] is kinds.Cup,
            hints(models.serve)["return"] == typing.Optional[models.Order],
            hints(models.Order)["parent"] == typing.Optional[models.Order],
            hints(Child) == {"size": kinds.Tea, "extra": models.Order},
            hints(models.Row)["tea"] is kinds.Tea, hints(models.Movie)["tea"] is kinds.Tea,
            sorted(hints(models)), hints(models.Order.__post_init__),
        ]
        """,
    ) == [True] * 7 + [[], {}]


def test_dataclasses_with_strings(program: Program) -> None:
    assert program(
        MODELS,
        """
        import dataclasses
        from shop.kinds import Tea
        from shop.models import Order
        tea = Tea()
        order = Order(tea, times=3)
        result = [[f.name for f in dataclasses.fields(Order)], order.total, Order.count]
        result.append(order == Order(tea, parent=None))
        try:
            Order(tea, [], 1, 2, None)
        except TypeError as exc:
            result.append("positional" in str(exc))
        other = dataclasses.replace(order, tea=None, times=1, more=1)
        result += [other.tea, dataclasses.asdict(other), dataclasses.is_dataclass(Order)]
        """,
    ) == [
        ["tea", "cups", "parent"],
        6,
        0,
        True,
        True,
        None,
        {"tea": None, "cups": [], "parent": None},
        True,
    ]


def test_dataclasses_of_many_kinds(program: Program) -> None:
    assert program(
        {},
        """
        import dataclasses, pickle
        @dataclasses.dataclass(slots=True, frozen=True, order=True)
        class Slotted:
            a: int
            b: "list[int]" = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(slots=True, weakref_slot=True, kw_only=True)
        class Weak:
            a: "int" = 1
        Made = dataclasses.make_dataclass("Made", [("x", "int"), ("y", int, 5)])
        result = [
            repr(Slotted(1)), Slotted(1) < Slotted(2), Slotted.__module__,
            pickle.loads(pickle.dumps(Slotted(2, [3]))) == Slotted(2, [3]),
            Weak(a=3).a, Made(1).y, Slotted.__slots__, Made.__module__ in ("types", "__main__"),
        ]
        """,
    ) == ["Slotted(a=1, b=[])", True, "__main__", True, 3, 5, ["a", "b"], True]


def test_a_class_whose_module_is_gone(program: Program) -> None:
    assert program(
        {"late.py": "class Base: pass"},
        """
        import sys, typing
        import late
        class Child(late.Base):
            x: "int"
            __module__ = "late"
        class Nowhere:
            x: "int"
            __module__ = "nowhere"
        del sys.modules["late"]
        result = [typing.get_type_hints(cls)["x"] is int for cls in (Child, Nowhere)]
        result += [sys.modules.get("late"), bool(sys.modules.get("late"))]
        """,
    ) == [True, True, None, False]


def test_enum(program: Program) -> None:
    assert program(
        {
            "colours.py": """
                import enum
                class Colour(enum.Enum):
                    RED = enum.auto()
                    BLUE = enum.auto()
                class Flags(enum.IntFlag):
                    A = 1
                    B = 2
                Made = enum.Enum("Made", "ONE TWO")
                @enum.global_enum
                class Level(enum.IntEnum):
                    LOW = 1
                """
        },
        """
        import copy, pickle
        import colours
        from colours import Colour, Flags, Made
        result = [Colour.RED.value, Colour["BLUE"].name, Colour(2) is Colour.BLUE, Made.__module__]
        for thing in (Colour.RED, Flags.A | Flags.B, Made.TWO, colours.LOW):
            again = pickle.loads(pickle.dumps(thing))
            result.append(again is thing and copy.deepcopy(thing) is thing)
        result += [repr(colours.LOW), isinstance(Colour.RED, Colour)]
        """,
    ) == [1, "BLUE", True, "colours", True, True, True, True, "colours.LOW", True]


def test_named_tuples(program: Program) -> None:
    assert program(
        {},
        """
        import collections, pickle, typing
        Point = collections.namedtuple("Point", "x y", defaults=[0])
        class Place(typing.NamedTuple):
            name: str
            point: Point = Point(1)
        place = Place("a")
        result = [Point.__module__, Place.__module__, place._asdict()["name"], place.point.y]
        result.append(pickle.loads(pickle.dumps(place)) == place)
        """,
    ) == ["__main__", "__main__", "a", 0, True]


def test_protocols_abcs_and_generics(program: Program) -> None:
    assert program(
        {},
        """
        import abc, collections.abc, functools, numbers, typing
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, thing: T): self.thing = thing
        @typing.runtime_checkable
        class Named(typing.Protocol):
            name: str
        class Mine(collections.abc.Mapping):
            def __getitem__(self, key): return key
            def __iter__(self): return iter("ab")
            def __len__(self): return 2
        class Thing: name = "x"
        numbers.Number.register(Thing)
        @functools.singledispatch
        def kind(x): return "any"
        @kind.register
        def _(x: "Thing"): return "thing"
        result = [
            isinstance(Thing(), Named), isinstance(Thing(), numbers.Number), dict(Mine()),
            kind(Thing()), kind(3), Box[int](3).thing, typing.get_args(Box[Thing])[0] is Thing,
            T.__module__,
        ]
        """,
    ) == [True, True, {"a": "a", "b": "b"}, "thing", "any", 3, True, "__main__"]
