"""The rules of the house that no linter knows: sizes, docstrings, layers, and what a stored notebook looks like."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted((REPOSITORY / "tlkeras").rglob("*.py"))
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
# Imports point from the left to the right only, or stay inside a package.
LAYERS = ["benchmarks", "reports", ("experiments", "visualize", "l2t"), "transfer", "models", "data"]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in ([names] if isinstance(names, str) else names)}
RANDOM = ("default_rng", "Generator", "SeedSequence")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def nodes(path: Path, *kinds: type) -> list[ast.AST]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]


def length(function: ast.FunctionDef) -> int:
    """Return a function's lines without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    return function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)


def public(tree: ast.Module | ast.ClassDef) -> list[ast.AST]:
    """Return the functions, classes and methods that a user may call."""
    named = [node for node in tree.body if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name[0] != "_"]
    return named + [inner for node in named if isinstance(node, ast.ClassDef) for inner in public(node)]


def imported(path: Path) -> set[str]:
    """Return the packages of tlkeras that a module imports, wherever the statement stands."""
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)
    names = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
    for node in nodes(path, ast.ImportFrom):
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("tlkeras.")} & RANKS.keys()


@every_module
def test_sizes(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
    limit = 70 if path.parent.name == "models" else 40  # a network's graph reads best in one piece
    assert {node.name: length(node) for node in nodes(path, *FUNCTIONS) if length(node) > limit} == {}


@every_module
def test_docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module says nothing of itself"
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


@every_module
def test_no_global_random_generator(path):
    used = {ast.unparse(node) for node in nodes(path, ast.Attribute)}
    assert {name for name in used if re.fullmatch(r"(np|numpy)\.random\.\w+", name)} <= {
        f"np.random.{n}" for n in RANDOM
    }


@every_module
def test_imports_point_down(path):
    own = path.relative_to(REPOSITORY / "tlkeras").parts[0]
    if own in RANKS:
        assert {name for name in imported(path) if name != own and RANKS[name] <= RANKS[own]} == set()


@every_notebook
def test_notebook_cells_are_small(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    sources = [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source) for cell in cells]
    functions = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, FUNCTIONS)]
    assert len(cells) <= 20
    assert max(len(source.splitlines()) for source in sources) <= 25
    assert {node.name: length(node) for node in functions if length(node) > 10} == {}


@every_notebook
def test_notebook_is_stored_as_it_ran(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


def test_both_lists_of_requirements_agree():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert required == project["dependencies"] + project["optional-dependencies"]["dev"]
