"""The house's rules that a machine can hold: imports point one way, and nothing prints."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hdrmerge"
FILES = sorted(PACKAGE.rglob("*.py"))

# Only these may import what they are named for, at any depth; paths within the package.
ALLOWED = {
    "torch": ("models/", "fusion/learned.py", "training/"),
    "safetensors": ("models/", "training/"),
    "huggingface_hub": ("models/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "rawpy": ("io/",),
    "OpenEXR": ("io/",),
    "tifffile": ("io/", "simulate/"),
    "PIL": ("io/", "simulate/"),
    "imagecodecs": ("io/",),
    "scipy": (),
    "distributed": ("batch/remote.py",),
}
TORCH_FREE = ("models/manifest.py", "models/__init__.py", "models/registry.py")

# What a part of the package may import of the others, besides its own.
NOUNS = {"__init__", "compiled", "errors", "config", "frames", "report", "threads"}
LAYERS = {
    "errors": set(),
    "threads": set(),
    "config": {"errors"},
    "report": {"errors"},
    "frames": {"errors", "frames_loops"},
    "warp": NOUNS | {"response", "warp_loops"},
    "warp_loops": NOUNS | {"cubic_loops"},
    "cubic_loops": NOUNS,
    "powers_loops": NOUNS,
    "stack": NOUNS | {"response", "warp"},
    "tonemap": NOUNS | {"powers_loops"},
    "tmqi": NOUNS,
    "io": NOUNS | {"tonemap"},
    "picture": NOUNS | {"io", "tonemap"},
    "models": NOUNS,
}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Dotted names that a file imports; ``top_level``: only what runs when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        if top_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_and_foreign_imports_stay_where_they_belong(path: Path) -> None:
    name = name_of(path)
    for imported in imports(path):
        root = imported.partition(".")[0]
        if root in ALLOWED:
            assert name.startswith(ALLOWED[root] or "\0"), f"{name} imports {root}"
            assert not (root == "torch" and name in TORCH_FREE), f"{name} imports torch"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name = name_of(path)
    part = name.partition("/")[0].removesuffix(".py")
    own = {i.split(".")[1] for i in imports(path) if i.startswith("hdrmerge.")}
    own -= {"__version__", part}
    if part not in ("cli", "__main__"):
        assert "cli" not in own, f"{name} imports the command line"
    if part not in ("cli", "training", "evaluate", "bench", "__init__"):
        assert not own & {"training", "simulate"} - {part}, f"{name} imports training or simulate"
    if part in LAYERS:
        assert own <= LAYERS[part] | {part}, f"{name} imports {own - LAYERS[part]}"
    if part not in ("cli", "__init__", "__main__", "training", "evaluate", "batch"):
        assert "pipeline" not in own, f"{name} imports the pipeline"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_prints_or_exits(path: Path) -> None:
    if name_of(path) in ("cli/app.py", "cli/console.py"):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.exit", "exit", "os._exit", "typer.echo"), called


def test_the_architecture_names_every_module() -> None:
    """And none that is gone; modules of ``cli/`` and of single operators are named by kind."""
    from hdrmerge.tonemap.operators import OPERATORS

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.partition("```\n")[2].partition("```")[0]
    named = set(re.findall(r"\b\w+\.py\b", tree))
    by_kind = {name.replace("-", "") for name in OPERATORS}
    modules = {path.name for path in FILES if path.parent.name != "cli"}
    by_kind = {name for name in modules if name.removesuffix(".py") in by_kind}
    assert modules - named - by_kind <= {"__init__.py", "__main__.py"}
    assert named <= {path.name for path in (*FILES, *(ROOT / "tools").glob("*.py"))}


def test_only_the_edge_catches_the_package_s_errors() -> None:
    catching = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                caught = ast.unparse(node.type)
                if "Exception" in caught or "HdrMergeError" in caught:
                    raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                    if not raises:
                        catching.append(name_of(path))
    # of a batch, one bracket must not stop the others
    assert set(catching) <= {"cli/app.py", "batch/worker.py"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules in memory after ``code`` ran in a fresh interpreter."""
    code += "\nimport sys; sys.stderr.write(' '.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_after("from hdrmerge.cli.app import run; assert run(['--help']) == 0")
    assert not loaded & {"torch", "numpy", "cv2", "OpenEXR", "PIL", "tifffile", "rawpy"}


def test_the_package_loads_nothing() -> None:
    assert not loaded_after("import hdrmerge") & {"torch", "numpy", "cv2", "typer", "rich"}


def test_tone_mapping_and_the_pipeline_do_not_load_torch() -> None:
    code = "import hdrmerge.pipeline, hdrmerge.tonemap, hdrmerge.io, hdrmerge.fusion.classic"
    assert "torch" not in loaded_after(code)


def test_the_public_api_resolves() -> None:
    import hdrmerge

    for name in hdrmerge.__all__:
        assert getattr(hdrmerge, name) is not None
    assert dir(hdrmerge) == hdrmerge.__all__
    with pytest.raises(AttributeError):
        _ = hdrmerge.nonsense


def test_every_package_is_installed() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {p.parent for p in FILES if p.name == "__init__.py"}
    found = {".".join(("hdrmerge", *folder.relative_to(PACKAGE).parts)) for folder in folders}
    assert found | {"hdrmerge.data", "hdrmerge.weights"} == set(setup["packages"])


def test_no_public_name_is_hidden_by_a_module() -> None:
    import hdrmerge

    modules = {path.stem for path in PACKAGE.glob("*.py")} | {p.name for p in PACKAGE.iterdir()}
    assert not modules & set(hdrmerge.__all__)
