"""Make tlkeras ready in Google Colab: what is missing is installed, and what Colab pinned stays as it is.

Run as a file, by the Python of the notebook, before anything of tlkeras is imported.
"""

import importlib.metadata
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def missing(requirements: Iterable[str], installed: Mapping[str, str]) -> list[str]:
    """Return the requirements of which no version at all is installed.

    Args:
        requirements: such as "keras>=3.10,<4".
        installed: versions by canonical name.
    """
    return [text for text in requirements if canonicalize_name(Requirement(text).name) not in installed]


def other_versions(requirements: Iterable[str], installed: Mapping[str, str]) -> list[str]:
    """Return a sentence for each installed version that was not asked for; it stays."""
    found = [(Requirement(text), installed.get(canonicalize_name(Requirement(text).name))) for text in requirements]
    return [
        f"{asked.name} {version} is here, {asked} was asked for: it stays, and is untested."
        for asked, version in found
        if version and not asked.specifier.contains(version, prereleases=True)
    ]


def commands(requirements: Iterable[str], installed: Mapping[str, str], pins: Path) -> list[list[str]]:
    """Return the commands of pip: none may change the version of what is installed.

    Args:
        requirements: of the package.
        installed: versions by canonical name.
        pins: a file to write, with a line for each of them.
    """
    pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(installed.items())), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lacking = missing(requirements, installed)
    both = [[*pip, "--constraint", str(pins), *lacking]] if lacking else []
    return [*both, [*pip, "--no-deps", "--editable", str(ROOT)]]


def main() -> None:
    """Install what is missing, and say what is of another version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = importlib.metadata.distributions()
    names = {str(item.metadata["Name"]): item.version for item in found if item.metadata["Name"]}
    installed = {str(canonicalize_name(name)): version for name, version in names.items()}
    with tempfile.TemporaryDirectory() as folder:
        for command in commands(project["dependencies"], installed, Path(folder) / "pins.txt"):
            subprocess.run(command, check=True)
    print(*other_versions(project["dependencies"], installed), sep="\n")


if __name__ == "__main__":
    main()
