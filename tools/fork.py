"""Say in one place where the repository is: `python -m tools.fork OWNER/NAME BRANCH` writes it into every notebook.

The place is pyproject.toml: `Repository` of the project, and `branch` of [tool.tlkeras]. Without arguments, notebooks
are written again from there.
"""

import argparse
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import nbformat

from tlkeras._files import write_text

ROOT = Path(__file__).resolve().parents[1]
HOST = "https://github.com/"
BADGE = re.compile(r"(colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+/blob/[^\s)]+?(/notebooks/)")
BOOTSTRAP = re.compile(r'REPOSITORY, BRANCH = "[^"]*", "[^"]*"')


def place(root: Path = ROOT) -> tuple[str, str]:
    """Return owner/name and branch, as pyproject.toml says them."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"]["urls"]["Repository"].removeprefix(HOST), settings["tool"]["tlkeras"]["branch"]


def moved(source: str, repository: str, branch: str) -> str:
    """Return the source of a cell with its badge and its bootstrap pointing to a repository.

    Args:
        source: of a cell.
        repository: owner/name.
        branch: of the repository.
    """
    source = BADGE.sub(lambda found: f"{found[1]}{repository}/blob/{branch}{found[2]}", source)
    return BOOTSTRAP.sub(f'REPOSITORY, BRANCH = "{HOST}{repository}", "{branch}"', source)


def write(repository: str, branch: str, root: Path = ROOT) -> None:
    """Write owner/name and branch into pyproject.toml and every notebook; outputs stay as they are."""
    project = root / "pyproject.toml"
    text = re.sub(r'(?m)^Repository = ".*"$', f'Repository = "{HOST}{repository}"', project.read_text(encoding="utf-8"))
    write_text(project, re.sub(r'(?m)^branch = ".*"$', f'branch = "{branch}"', text))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source = moved(cell.source, repository, branch)
        write_text(path, nbformat.writes(notebook) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line `python -m tools.fork`."""
    parser = argparse.ArgumentParser(prog="python -m tools.fork", description=__doc__)
    known = place()
    parser.add_argument("repository", nargs="?", default=known[0], help="OWNER/NAME (default: %(default)s)")
    parser.add_argument("branch", nargs="?", default=known[1], help="default: %(default)s")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repository):
        parser.error(f"expected OWNER/NAME. Received: {options.repository}")
    write(options.repository, options.branch)


if __name__ == "__main__":
    main()
