"""The rules of the house that no linter knows: docstrings, layers, private attributes, what a stored notebook is."""

import ast
import functools
import graphlib
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted((REPOSITORY / "tlkeras").rglob("*.py"))
SOURCES = sorted(
    path for name in ("tlkeras", "benchmarks", "tools", "tests") for path in (REPOSITORY / name).rglob("*.py")
)
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
# Imports point from the left to the right only, or stay inside a folder.
LAYERS = (("reports", "own_images"), ("experiments", "visualize", "l2t"), ("transfer",), ("models",), ("data",))
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
RANDOM = {f"np.random.{name}" for name in ("default_rng", "Generator", "SeedSequence")}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# What is Keras' own business; `tlkeras/graph.py` alone may touch it.
PRIVATE_OF_KERAS = {
    "_operations",
    "_nodes",
    "_inbound_nodes",
    "_outbound_nodes",
    "_keras_history",
    "_functional",
    "_run_through_graph",
}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def short(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def nodes(path: Path, *kinds: type) -> list[ast.AST]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def public(root: ast.Module | ast.ClassDef) -> list[ast.AST]:
    """Return the functions, classes and methods that a user may call."""
    named = [node for node in root.body if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name[0] != "_"]
    return named + [inner for node in named if isinstance(node, ast.ClassDef) for inner in public(node)]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path): path for path in MODULES}


def imported(path: Path) -> set[str]:
    """Return the modules of tlkeras that a module imports, wherever the statement stands; not those for types alone."""
    for_types = {
        inner for node in nodes(path, ast.If) if "TYPE_CHECKING" in ast.unparse(node.test) for inner in ast.walk(node)
    }
    names = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
    for node in nodes(path, ast.ImportFrom):
        assert node.level == 0, f"{short(path)} imports relatively"
        if node not in for_types:
            found = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in NAMES else node.module for name in found}
    return {name for name in names if name in NAMES} - {module_name(path)}


def test_every_module_and_public_name_says_what_it_is():
    silent = [short(path) for path in MODULES if not ast.get_docstring(tree(path))]
    silent += [
        f"{short(path)}: {node.name}" for path in MODULES for node in public(tree(path)) if not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_global_random_generator():
    used = {(short(path), ast.unparse(node)) for path in MODULES for node in nodes(path, ast.Attribute)}
    assert [
        use for use in sorted(used) if re.fullmatch(r"(np|numpy)\.random\.\w+", use[1]) and use[1] not in RANDOM
    ] == []


def test_imports_point_down():
    wrong = []
    for path in MODULES:
        own = RANKS.get(path.relative_to(REPOSITORY / "tlkeras").parts[0])
        folders = {name.split(".")[1] for name in imported(path) if name.count(".")}
        mine = path.relative_to(REPOSITORY / "tlkeras").parts[0]
        wrong += [
            f"{short(path)} -> {name}"
            for name in folders
            if own is not None and name != mine and RANKS.get(name, 9) <= own
        ]
    assert wrong == []


def test_no_file_imports_in_a_circle():
    # A folder's own list of names imports its files; that is no arrow between the files.
    arrows = {
        name: {other for other in imported(path) if NAMES[other].name != "__init__.py"}
        for name, path in NAMES.items()
        if path.name != "__init__.py"
    }
    graphlib.TopologicalSorter(arrows).prepare()


def test_private_attributes_of_keras_are_touched_in_one_file():
    touched = {
        f"{short(path)}: {node.attr}"
        for path in MODULES
        if path.name != "graph.py"
        for node in nodes(path, ast.Attribute)
        if node.attr in PRIVATE_OF_KERAS
    }
    assert touched == set()


def is_table_of_numbers(node: ast.AST) -> bool:
    constants = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
    return sum(isinstance(value, int | float) for value in constants) >= 6


def test_only_tables_of_numbers_are_formatted_by_hand():
    by_hand = []
    for path in set(SOURCES) - {Path(__file__)}:
        tables = [node for node in nodes(path, ast.Assign, ast.AnnAssign) if is_table_of_numbers(node)]
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        skipped = [number for number, line in lines if re.search(r"# fmt: (skip|off)", line)]
        by_hand += [
            f"{short(path)}:{number}"
            for number in skipped
            if not any(node.lineno <= number <= node.end_lineno for node in tables)
        ]
    assert by_hand == []


@every_notebook
def test_notebook_cells_are_small(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    sources = [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source) for cell in cells]
    functions = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, FUNCTIONS)]
    assert len(cells) <= 20
    assert max(len(source.splitlines()) for source in sources) <= 25
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 10] == []


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
    extras = project["optional-dependencies"]
    assert required == project["dependencies"] + extras["dev"] + extras["export"]
