"""Servers as they are on bad days: each costs a bounded time, and is named; what can go on goes on."""

import functools
import hashlib
import http.server
import threading
import time

import pytest

from tlkeras.data import sources
from tlkeras.data.sources import Remote

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Answers as the last part of the address says, and notes what was asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.version, self.over = [], '"1"', threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Say nothing of clients that have had enough."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):  # noqa: N802, the name that http.server looks for
        """Answer without a body; a silent server is silent to this, too."""
        if self.path == "/silent":
            self.server.over.wait(10)
        if self.path == "/circle":
            return self._head(302, Location="/circle")
        return self._head(200)

    def do_GET(self):  # noqa: N802
        """Answer as the name of the file says."""
        self.server.asked.append((self.path, self.headers.get("Range")))
        getattr(self, self.path.rsplit("/", 1)[-1])()

    def _head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *args):
        """Keep the test output clean."""

    def sound(self):
        self._head(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def slow(self):
        time.sleep(0.05)
        self.sound()

    def hangs(self):
        self._head(Content_Length=len(CONTENT))
        self.server.over.wait(10)

    def drips(self):
        self._head(Content_Length=len(CONTENT))
        while not self.server.over.wait(0.01):
            self.wfile.write(b".")

    def busy(self):
        """Be busy twice, then answer."""
        if len(self.server.asked) < 3:
            self._head(503, Content_Length=0)
        else:
            self.sound()

    def breaks(self):
        """Send a part, and the rest if that is asked for, of the same version of the file."""
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and self.headers["If-Range"] == self.server.version:
            self._head(206, Content_Length=len(CONTENT) - start, Content_Range=f"bytes {start}-9/9", ETag='"1"')
            self.wfile.write(CONTENT[start:])
        else:
            self._head(Content_Length=len(CONTENT), ETag='"1"')
            self.wfile.write(CONTENT if asked else CONTENT[:5000])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let the limits be short; no proxy, and no host that did not answer before."""
    for name, value in {"CONNECT_SECONDS": 0.5, "READ_SECONDS": 0.4, "WAITS": (0, 0), "_unreachable": {}}.items():
        monkeypatch.setattr(sources, name, value)
    for name in ("http_proxy", "HTTP_PROXY", "TLKERAS_PROFILE", "TLKERAS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("silent", sources.UnreachableError, "does not answer"),
        ("circle", sources.WrongContentError, "circle: Exceeded 30 redirects"),
        ("hangs", sources.TruncatedError, "broke off: .*timed out"),
        ("drips", sources.TruncatedError, "broke off: fewer than 1000 bytes a second"),
    ],
)
def test_a_server_that_never_ends_costs_a_bounded_time(server, tmp_path, name, error, message):
    began = time.monotonic()
    with pytest.raises(error, match=message):
        sources.download(Remote(f"{server.url}/{name}", SHA256), tmp_path)
    assert time.monotonic() - began < 5 and list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again(server, tmp_path, capfd):
    path = sources.download(Remote(f"{server.url}/busy", SHA256), tmp_path)
    assert path.read_bytes() == CONTENT and len(server.asked) == 3
    assert "HTTP status 503 Service Unavailable; trying again in 0 s" in capfd.readouterr().err


def test_what_broke_off_goes_on_where_it_was(server, tmp_path):
    path = sources.download(Remote(f"{server.url}/breaks", SHA256), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("/breaks", None), ("/breaks", "bytes=5000-")]


def test_another_version_of_the_file_is_taken_from_its_beginning(server, tmp_path):
    server.version = "another"
    assert sources.download(Remote(f"{server.url}/breaks", SHA256), tmp_path).read_bytes() == CONTENT


def test_a_proxy_is_taken_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", server.url)
    sources.download(Remote("http://elsewhere.invalid/sound", SHA256), tmp_path)
    assert server.asked == [("http://elsewhere.invalid/sound", None)]


def fetch(server, path, *names):
    """Obtain a file from sources of these names, and return its content and the source."""
    asked = [
        sources.downloads(f"mirror {name}", (Remote(f"{server.url}/{name}", SHA256),), lambda folder: folder)
        for name in names
    ]

    def keep(folder, label):
        next(folder.iterdir()).replace(path)
        return path.read_bytes(), label

    return sources.obtain(
        path, asked, cached=lambda: (path.read_bytes(), "cache") if path.exists() else None, keep=keep
    )


def test_the_mirror_that_is_tried_next_is_named(server, tmp_path, capfd):
    assert fetch(server, tmp_path / "file", "drips", "sound") == (CONTENT, "mirror sound")
    assert "1000 bytes a second; trying mirror sound\n" in capfd.readouterr().err


def test_two_downloads_of_one_file_at_once_are_one(server, tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(server, tmp_path / "file", "slow"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(label for _, label in found) == ["cache", "mirror slow"]
    assert [content for content, _ in found] == [CONTENT, CONTENT] and len(server.asked) == 1
