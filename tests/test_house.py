"""The house: imports run down the floors, never in a circle, and each name has one home."""

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground. What stands on one floor does not know of its neighbours. The face is the
# package's own module; what lies at the top of `training` are commands.
FLOORS = (
    ("images", "guidance", "model", "check"),
    ("text", "validation", "installation"),
    ("schedule", "latents", "steps", "show"),
    ("sampling", "lessons"),
    ("face", "__main__"),
    ("widgets", "exercises", "training"),
    ("playground",),
)
TRAINING_FLOORS = (("world", "engine"), ("stages",), ("judging",), ("commands",))
FACES = ("sdhelpers", "sdhelpers.show", "sdhelpers.widgets")
MOST_ROOMS = 20

Trees = Mapping[str, ast.Module]


def read_trees() -> dict[str, ast.Module]:
    """Give the syntax tree of every module, by its dotted name."""
    paths = [path for house in ("sdhelpers", "training") for path in (ROOT / house).rglob("*.py")]
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    return {
        name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for name, path in zip(names, paths, strict=True)
    }


def read_imports(trees: Trees) -> Iterator[tuple[str, str, str]]:
    """Give (module, module it imports from, name), those for type checkers and late ones too.

    The name is "" where the module itself is imported.
    """
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name, "") for alias in node.names if alias.name in trees)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports are absolute"
                for alias in node.names:
                    if f"{node.module}.{alias.name}" in trees:
                        yield module, f"{node.module}.{alias.name}", ""
                    elif node.module in trees:
                        yield module, node.module, alias.name


def room_of(module: str) -> str:
    """Give the room of the whole house: the top of `sdhelpers`, or `training`."""
    house, *rest = module.split(".")
    return house if house == "training" else (rest or ["face"])[0]


def wing_of(module: str) -> str:
    """Give the wing of `training`; its commands lie at its top."""
    _, *rest = module.split(".")
    return rest[0] if len(rest) == 2 or rest[0] in TRAINING_FLOORS[0] else "commands"


def find_ascents(
    arrows: set[tuple[str, str]], floors: tuple[tuple[str, ...], ...]
) -> list[tuple[str, str]]:
    """Give the arrows that do not run down; a room that stands on no floor is a KeyError."""
    height = {room: floor for floor, rooms in enumerate(floors) for room in rooms}
    return sorted(
        (start, end) for start, end in arrows if start != end and height[start] <= height[end]
    )


def find_circle(arrows: set[tuple[str, str]]) -> list[str]:
    """Give modules that import each other in a circle; empty if there are none."""
    imports: dict[str, set[str]] = {}
    for start, end in arrows:
        imports.setdefault(start, set()).add(end)
    while leaves := {end for ends in imports.values() for end in ends} - set(imports):
        imports = {start: ends - leaves for start, ends in imports.items()}
        imports = {start: ends for start, ends in imports.items() if ends}
    return sorted(imports)


@pytest.fixture(scope="module")
def trees() -> Trees:
    return read_trees()


@pytest.fixture(scope="module")
def arrows(trees: Trees) -> set[tuple[str, str]]:
    found = {(start, end) for start, end, _ in read_imports(trees)}
    assert len(found) > 100
    return found


def test_few_rooms_and_each_on_a_floor(trees: Trees) -> None:
    rooms = {room_of(module) for module in trees}
    assert rooms == {room for floor in FLOORS for room in floor}
    top = [path for path in (ROOT / "sdhelpers").iterdir() if path.name[:2] != "__"]
    assert 10 < len(top) <= MOST_ROOMS, sorted(path.name for path in top)


def test_imports_run_down_the_floors(arrows: set[tuple[str, str]]) -> None:
    house = {(room_of(start), room_of(end)) for start, end in arrows}
    assert not find_ascents(house, FLOORS)
    inside = {
        (wing_of(start), wing_of(end))
        for start, end in arrows
        if start.startswith("training.") and end.startswith("training.")
    }
    # A command may call others: the rehearsal calls the whole chain.
    assert inside
    assert not find_ascents(inside, TRAINING_FLOORS)


def test_no_circle_of_imports(arrows: set[tuple[str, str]]) -> None:
    assert not find_circle(arrows)


def test_one_import_turned_round_is_found(arrows: set[tuple[str, str]]) -> None:
    """Each of them: otherwise the tests above would prove nothing."""
    rooms = {(start, end) for start, end in arrows if room_of(start) != room_of(end)}
    assert len(rooms) > 50
    for start, end in rooms:
        assert find_ascents({(room_of(end), room_of(start))}, FLOORS)
    for start, end in arrows:
        assert {start, end} <= set(find_circle(arrows | {(end, start)}))


def test_each_name_is_imported_from_its_home(trees: Trees) -> None:
    """No second doors: only the faces hand on what others made, and only to readers above."""
    homes = {module: set(defined_names(tree)) for module, tree in trees.items()}
    taken = [(start, end, name) for start, end, name in read_imports(trees) if name]
    assert len(taken) > 200
    strangers = [
        f"{start} takes {name} from {end}"
        for start, end, name in taken
        if name not in homes[end] and start not in FACES and end not in FACES
    ]
    assert not strangers, strangers


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Give what a module defines itself at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (
                each.id
                for each in ast.walk(node)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            )


@pytest.mark.parametrize("name", FACES)
def test_a_face_lists_public_names_and_has_them(name: str) -> None:
    face = importlib.import_module(name)
    listed = set(dir(face)) - {"__version__"}
    assert listed == set(face.__all__)
    assert not [each for each in listed if each.startswith("_")]
    for each in listed:
        value = getattr(face, each)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__module__.startswith("sdhelpers.")


def test_packages_without_a_face_are_a_docstring(trees: Trees) -> None:
    packages = {path.parent for path in (ROOT / "sdhelpers").rglob("__init__.py")}
    names = {".".join(path.relative_to(ROOT).parts) for path in packages} - set(FACES)
    assert len(names) >= 4
    for name in names:
        assert [type(node) for node in trees[name].body] == [ast.Expr], name
