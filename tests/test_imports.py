"""Imports go one way, down the design's table; frameworks are imported where they may be and nowhere else."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "seqgraft"
ROOMS = [
    "errors",
    "machine",
    "folders",
    "spec",
    "drawing",
    "families",
    "config",
    "checkpoints",
    "text",
    "generation",
    "evaluation",
    "functional",
    "torch",
    "flax",
    "tensorflow",
    "training",
    "engine",
    "pipelines",
    "serving",
    "cli",
]
"""In the order of the design: a room may import those before it."""
NEUTRAL = (
    "errors",
    "folders",
    "spec",
    "drawing",
    "families",
    "config",
    "checkpoints",
    "text",
    "generation",
    "evaluation",
    "functional",
)
FRAMEWORKS = {"torch", "jax", "flax", "tensorflow", "lightning", "transformers"}
LAZY = ("pipelines", "serving", "cli")
"""Rooms that may import torch inside functions alone."""
DOORS = {("text", f"{room}.tensors") for room in ("torch", "flax", "tensorflow")} | {("text", "torch")}
"""`text` reaches tensors through one file of each framework, inside a function."""

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported when the file is), `from` targets spelled out; type checking aside."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                yield from walk(ast.Module(child.orelse, []), at_import)
            elif isinstance(child, ast.Import):
                yield from ((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                yield from ((f"{child.module}.{alias.name}", at_import) for alias in child.names)
            elif (
                isinstance(child, ast.Call)
                and ast.unparse(child.func).endswith("import_module")
                and child.args
                and isinstance(child.args[0], ast.Constant)
            ):
                yield str(child.args[0].value), at_import
            else:
                inner = at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text()), True)


def own(module: str) -> str | None:
    """The part of a module's name after `seqgraft.`, or None for others' modules."""
    first, _, rest = module.partition(".")
    return rest if first == "seqgraft" else None


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} - {"__init__", "__main__"} <= set(ROOMS)
    assert len(FILES) > 60


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    for module, at_import in imports(path):
        inner = own(module)
        if inner is None:
            continue
        target = inner.partition(".")[0]
        if target not in ROOMS:  # the package's own public names, which load on first use
            assert not at_import or room in ROOMS[ROOMS.index("engine") :], f"{path} imports {module}"
            continue
        door = not at_import and any(inner.startswith(name) for who, name in DOORS if who == room)
        assert ROOMS.index(target) <= ROOMS.index(room) or door, f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_frameworks_stay_in_their_rooms(path: Path) -> None:
    room = room_of(path)
    for module, at_import in imports(path):
        top = module.partition(".")[0]
        assert top != "transformers", f"{path} imports {module}"
        if top in FRAMEWORKS:
            own_rooms = {"jax": ("flax",), "flax": ("flax",), "tensorflow": ("tensorflow",)}
            homes = own_rooms.get(top, ("torch", "training", "engine"))
            assert room in homes or (room in LAZY and not at_import), f"{path}: {module}"


@pytest.mark.parametrize("room", ["spec", "families", "errors"])
def test_declarations_import_the_standard_library_alone(room: str) -> None:
    allowed = {"spec": {"spec", "errors"}, "families": {"families", "spec", "errors", "folders"}, "errors": set()}[room]
    for path in FILES:
        if room_of(path) != room:
            continue
        for module, _ in imports(path):
            inner = own(module)
            if inner is None:
                assert module.partition(".")[0] in sys.stdlib_module_names, f"{path} imports {module}"
            else:
                assert inner.partition(".")[0] in allowed, f"{path} imports {module}"


def loaded_after(statement: str) -> set[str]:
    """The top modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"torch", "numpy", "tokenizers", "safetensors", "transformers", "lightning"}


@pytest.mark.parametrize(
    "statement",
    [
        "import seqgraft",
        "import seqgraft; seqgraft.BertConfig, seqgraft.LlamaConfig, seqgraft.AutoConfig",
        "import seqgraft; seqgraft.EncoderDecoderConfig(encoder=seqgraft.BertConfig(), decoder=seqgraft.GPT2Config())",
        "import seqgraft; seqgraft.GenerationConfig(num_beams=4); dir(seqgraft)",
        "import seqgraft; seqgraft.Graft; seqgraft.__version__",
    ],
)
def test_light_names_load_no_framework(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


def test_public_names() -> None:
    import seqgraft

    for name in dir(seqgraft):
        assert getattr(seqgraft, name) is not None
    with pytest.raises(AttributeError, match="module 'seqgraft' has no attribute 'NobodysModel'"):
        _ = seqgraft.NobodysModel


@pytest.mark.parametrize(("name", "module"), [("TFEncoderDecoderModel", "tensorflow")])
def test_a_missing_extra_is_named(name: str, module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None\nimport seqgraft\nseqgraft.{name}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"MissingExtraError: {name} needs " in run.stderr
    assert f"pip install 'seqgraft[{module}]'" in run.stderr


def test_the_walk_sees(tmp_path: Path) -> None:
    """Itself: what is inside a function, what only type checkers read, what `import_module` names."""
    path = tmp_path / "file.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nimport a.b\nif TYPE_CHECKING:\n    import hidden\nelse:\n    import shown\n"
        "try:\n    from c import d, e\nexcept ImportError:\n    pass\n"
        "def f():\n    import g\n    importlib.import_module('h.i')\nclass K:\n    import j\n"
    )
    assert list(imports(path)) == [
        ("typing.TYPE_CHECKING", True),
        ("a.b", True),
        ("shown", True),
        ("c.d", True),
        ("c.e", True),
        ("g", False),
        ("h.i", False),
        ("j", True),
    ]
