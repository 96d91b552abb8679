"""Each way in which a source can fail has its own error, costs one try, and leaves no file behind."""

import functools
import hashlib
import http.server
import threading
import time

import numpy as np
import pytest

from tlkeras.data import sources
from tlkeras.data.sources import Remote, Source

CONTENT = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the last part of the path, and counts the requests."""

    def do_GET(self):  # noqa: N802, the name that http.server looks for
        self.server.requests.append(self.path)
        status, length, body, kind = self.server.answers[self.path.rsplit("/", 1)[-1].removesuffix("?query")]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        """Keep the test output clean."""


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(sources, "_unreachable", {})
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    page = b"\n<!DOCTYPE html><html>Please log in</html>"
    server.requests = []
    server.answers = {
        "good.bin": (200, len(CONTENT), CONTENT, "application/octet-stream"),
        "unsized.bin": (200, None, CONTENT, "application/octet-stream"),
        "short.bin": (200, len(CONTENT) + 5, CONTENT, "application/octet-stream"),
        "gone.bin": (404, 3, b"no\n", "text/plain"),
        "broken.bin": (500, 3, b"no\n", "text/plain"),
        "page.bin": (200, len(page), page, "text/html"),
    }
    server.url = f"http://127.0.0.1:{server.server_port}/folder/"
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["good.bin", "unsized.bin"])
@pytest.mark.parametrize("sha256", ["", hashlib.sha256(CONTENT).hexdigest()])
def test_download(server, tmp_path, name, sha256):
    path = sources.download(Remote(server.url + name + "?query", sha256), tmp_path)
    assert path == tmp_path / name
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "sha256", "error", "message"),
    [
        ("good.bin", "0" * 64, sources.ChecksumError, "expected SHA-256 000.*Received: "),
        ("short.bin", "", sources.TruncatedError, f"expected {len(CONTENT) + 5} bytes. Received: {len(CONTENT)}|broke"),
        ("gone.bin", "", sources.HttpStatusError, "HTTP status 404"),
        ("broken.bin", "", sources.HttpStatusError, "HTTP status 500"),
        ("page.bin", "", sources.WrongContentError, "Received: an HTML page"),
    ],
)
def test_bad_download(server, tmp_path, name, sha256, error, message):
    with pytest.raises(error, match=message):
        sources.download(Remote(server.url + name, sha256), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_server_that_answers_with_an_error_is_asked_again(server, tmp_path):
    for _ in range(2):
        with pytest.raises(sources.HttpStatusError):
            sources.download(Remote(server.url + "gone.bin"), tmp_path)
    assert len(server.requests) == 2


def test_a_host_that_does_not_answer_is_asked_once(server, tmp_path, monkeypatch):
    closed = f"http://127.0.0.1:{server.server_port}/good.bin"
    server.shutdown()
    server.server_close()
    with pytest.raises(sources.UnreachableError, match="does not answer"):
        sources.download(Remote(closed), tmp_path)
    monkeypatch.setattr(sources.urllib.request, "urlopen", None)  # would fail with another error if it were called
    with pytest.raises(sources.UnreachableError, match="did not answer earlier"):
        sources.download(Remote(closed), tmp_path)


def test_a_name_server_that_hangs_costs_the_limit_and_no_more(tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(sources.urllib.request, "urlopen", lambda *args, **options: released.wait(10))
    start = time.monotonic()
    with pytest.raises(sources.UnreachableError, match=r"no answer within 0\.1 s"):
        sources.open_url("http://example.invalid/file")
    assert time.monotonic() - start < 2
    released.set()


def test_head_fetches_no_body(server):
    with sources.open_url(server.url + "good.bin", method="HEAD") as response:
        assert response.read() == b""


def test_downloads_hands_all_files_to_the_decoder(server):
    files = (Remote(server.url + "good.bin"), Remote(server.url + "unsized.bin"))

    def decode(folder):
        return {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in folder.iterdir()}

    source = sources.downloads("official: test", files, decode)
    assert source.files == files
    assert sorted(sources.arrays_from(source)) == ["good.bin", "unsized.bin"]


def test_whatever_a_decoder_raises_is_wrong_content_and_the_folder_is_gone():
    seen = []

    def fetch(folder):
        seen.append(folder)
        (folder / "half").write_bytes(b"")
        raise KeyError("labels")

    with pytest.raises(sources.WrongContentError, match="KeyError: 'labels'"):
        sources.arrays_from(Source("test", fetch))
    assert not seen[0].exists()


def test_a_host_is_asked_again_after_a_while(server, tmp_path, monkeypatch):
    url = f"http://127.0.0.1:{server.server_port}/good.bin"
    failed = sources.time.monotonic()
    monkeypatch.setattr(sources, "_unreachable", {f"127.0.0.1:{server.server_port}": (failed, "no network")})
    with pytest.raises(sources.UnreachableError, match="earlier: no network"):
        sources.download(Remote(url), tmp_path)
    monkeypatch.setattr(sources.time, "monotonic", lambda: failed + sources.FORGET_SECONDS)
    assert sources.download(Remote(url), tmp_path).exists()
