"""The engine takes the first source that works, says why the others failed, and leaves nothing half done."""

import functools
import hashlib
import http.server
import pickle
import stat
import sys
import threading
import time

import filelock
import numpy as np
import pytest

from tlkeras.data import DamagedFileError, sources
from tlkeras.data.sources import Remote, Source

CONTENT = bytes(range(256)) * 40
PAGE = b"\n<!DOCTYPE html><html>Please log in</html>"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the last part of the path, and notes the requests for a body."""

    def do_GET(self):  # noqa: N802, the name that http.server looks for
        self.server.requests.append(self.path)
        self.wfile.write(self._head())

    def do_HEAD(self):  # noqa: N802
        """Answer without the body."""
        self._head()

    def _head(self):
        status, length, body = self.server.answers[self.path.rsplit("/", 1)[-1].removesuffix("?query")]
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        return body

    def log_message(self, *args):
        """Keep the test output clean."""


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Let every test ask every host; the network is allowed, and no test makes use of it."""
    monkeypatch.setattr(sources, "_unreachable", {})
    monkeypatch.setattr(sources, "WAITS", (0, 0))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    monkeypatch.delenv("TLKERAS_OFFLINE", raising=False)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    server.answers = {
        "good.bin": (200, len(CONTENT), CONTENT),
        "unsized.bin": (200, None, CONTENT),
        "short.bin": (200, len(CONTENT) + 5, CONTENT),
        "gone.bin": (404, 3, b"no\n"),
        "broken.bin": (500, 3, b"no\n"),
        "page.bin": (200, len(PAGE), PAGE),
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
def test_download(server, tmp_path, capfd, name, sha256):
    path = sources.download(Remote(server.url + name + "?query", sha256), tmp_path)
    assert path == tmp_path / name
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert "hash" not in capfd.readouterr().err  # pooch keeps quiet


@pytest.mark.parametrize(
    ("name", "sha256", "error", "message"),
    [
        ("good.bin", "0" * 64, sources.ChecksumError, "expected SHA-256 000.*Received: .* but got "),
        ("short.bin", "", sources.TruncatedError, rf"broke off: .*{len(CONTENT)} bytes read, 5 more expected"),
        ("gone.bin", "", sources.HttpStatusError, "HTTP status 404"),
        ("broken.bin", "", sources.HttpStatusError, "HTTP status 500"),
        ("page.bin", "0" * 64, sources.WrongContentError, "Received: an HTML page"),
    ],
)
def test_bad_download(server, tmp_path, name, sha256, error, message):
    with pytest.raises(error, match=message):
        sources.download(Remote(server.url + name, sha256), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == (3 if name in ("short.bin", "broken.bin") else 1)  # what may pass is tried again


def test_a_server_that_answers_with_an_error_is_asked_again(server, tmp_path):
    for _ in range(2):
        with pytest.raises(sources.HttpStatusError):
            sources.download(Remote(server.url + "gone.bin"), tmp_path)
    assert len(server.requests) == 2


def test_a_host_that_does_not_answer_is_asked_once_a_minute(server, tmp_path, monkeypatch):
    remote = Remote(server.url + "good.bin")
    head = sources.requests.head
    monkeypatch.setattr(sources.requests, "head", lambda url, **options: head("http://127.0.0.1:9/", **options))
    with pytest.raises(sources.UnreachableError, match="does not answer"):
        sources.download(remote, tmp_path)
    monkeypatch.setattr(sources.requests, "head", head)
    with pytest.raises(sources.UnreachableError, match="did not answer earlier"):
        sources.download(remote, tmp_path)
    failed = time.monotonic()
    monkeypatch.setattr(sources.time, "monotonic", lambda: failed + sources.FORGET_SECONDS)
    assert sources.download(remote, tmp_path).exists()


def test_a_name_server_that_hangs_costs_the_limit_and_no_more(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(sources.requests, "head", lambda *args, **options: released.wait(10))
    start = time.monotonic()
    with pytest.raises(sources.UnreachableError, match=r"no answer within 0\.1 s"):
        sources.answer("http://example.invalid/file")
    assert time.monotonic() - start < 2
    released.set()


def test_an_answer_costs_no_body(server):
    assert [sources.answer(server.url + name) for name in ("good.bin", "gone.bin")] == [200, 404]
    assert server.requests == []


# The engine


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "thing.bin"


def obtain(path, *all_sources, check=lambda content: None, **options):
    """Obtain a file of text; the result is the text and where it came from."""

    def cached():
        return (path.read_text(), "cache") if path.exists() else None

    def keep(delivered, label):
        check(delivered.read_text())
        delivered.replace(path)
        return path.read_text(), label

    return sources.obtain(path, all_sources, cached=cached, keep=keep, **options)


def gives(label, text="text"):
    def fetch(folder):
        (folder / "delivered").write_text(text)
        return folder / "delivered"

    return Source(label, fetch)


def fails(label, error):
    """Return a source that fails half-way, with half a file in its folder."""

    def fetch(folder):
        (folder / "half").write_text("half")
        raise error

    return Source(label, fetch)


def left(path):
    """Return the names beside `path`, but for that of the lock."""
    return sorted(item.name for item in path.parent.iterdir() if item.suffix != ".lock")


def test_the_first_source_that_works_then_the_cache(path):
    down = fails("official", sources.HttpStatusError("HTTP status 404"))
    assert obtain(path, down, gives("first"), fails("never asked", AssertionError())) == ("text", "first")
    assert obtain(path, fails("never asked", AssertionError())) == ("text", "cache")
    assert left(path) == ["thing.bin"]


def test_every_reason_is_told_and_nothing_is_left(path):
    def check(content):
        if content != "right":
            raise sources.ChecksumError("another checksum")

    tried = (
        fails("official", sources.TruncatedError("broke off")),
        fails("decoder", KeyError("labels")),
        gives("wrong", "wrong"),
    )
    with pytest.raises(sources.NoSourceError) as caught:
        obtain(path, *tried, check=check)
    assert caught.value.reasons == [
        f"cache: no complete copy at {path}",
        "official: broke off",
        "decoder: KeyError: 'labels'",
        "wrong: another checksum",
    ]
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons
    assert str(caught.value).startswith("Tried:\n  cache: no complete copy")
    assert left(path) == []
    assert obtain(path, *tried, gives("mirror", "right"), check=check) == ("right", "mirror")


def test_an_interrupt_is_no_reason_to_go_on_and_leaves_nothing(path):
    with pytest.raises(KeyboardInterrupt):
        obtain(path, fails("official", KeyboardInterrupt()), gives("mirror"))
    assert left(path) == []


@pytest.mark.parametrize(("variable", "value"), [("TLKERAS_PROFILE", "smoke"), ("TLKERAS_OFFLINE", "1")])
def test_offline_no_source_is_asked(path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(sources.NoSourceError, match="network: switched off"):
        obtain(path, fails("official", AssertionError()))
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("text")
    assert obtain(path) == ("text", "cache")


def test_damage_is_replaced_or_told(path, monkeypatch):
    def cached():
        raise DamagedFileError("damaged")

    def run(source):
        return sources.obtain(path, [source], cached=cached, keep=lambda delivered, label: label)

    assert run(gives("official")) == "official"
    with pytest.raises(DamagedFileError, match="damaged. It could not be fetched again: official: HTTP status 404"):
        run(fails("official", sources.HttpStatusError("HTTP status 404")))
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.raises(DamagedFileError, match="damaged$"):
        run(gives("official"))


def test_what_another_process_fetched_meanwhile_is_taken(path):
    answers = iter([None, "theirs"])
    source = fails("never asked", AssertionError())
    assert sources.obtain(path, [source], cached=lambda: next(answers), keep=lambda *_: "ours") == "theirs"


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "thing.bin"
    with pytest.raises(sources.NoSourceError, match="file cannot be written"):
        obtain(path, fails("never asked", AssertionError()))
    result = sources.obtain(
        path,
        [gives("official")],
        cached=lambda: None,
        keep=lambda delivered, label: delivered.read_text(),
        in_memory=True,
    )
    assert result == "text"


def test_downloads_hands_all_files_to_the_decoder(server, path):
    files = (Remote(server.url + "good.bin"), Remote(server.url + "unsized.bin"))

    def decode(folder):
        return {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in folder.iterdir()}

    source = sources.downloads("official: test", files, decode)
    assert source.files == files
    arrays = sources.obtain(path, [source], cached=lambda: None, keep=lambda delivered, label: delivered)
    assert sorted(arrays) == ["good.bin", "unsized.bin"]


# Packages of registries


def _tool(folder, name, script):
    """Put a program called `name` in `folder`."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Return the folder in which alone programs are looked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def work(tmp_path):
    """Return an empty folder for a source."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_npm_package_is_unpacked(tools, work):
    _tool(
        tools,
        "npm",
        "import sys, tarfile, pathlib\nif sys.argv[1] == 'pack':\n"
        "    pathlib.Path('hello.txt').write_text(sys.argv[-1])\n"
        "    with tarfile.open('toy-1.0.0.tgz', 'w:gz') as archive:\n"
        "        archive.add('hello.txt', 'package/hello.txt')",
    )
    source = sources.npm_package("mirror: npm toy", "toy@1.0.0", lambda folder: folder / "package/hello.txt")
    assert source.fetch(work).read_text() == "toy@1.0.0"


def test_debian_package_is_unpacked(tools, work):
    _tool(tools, "apt-get", "import sys, pathlib\npathlib.Path('toy_1_all.deb').write_text(sys.argv[-1])")
    _tool(tools, "dpkg-deb", "import sys, pathlib\npathlib.Path(sys.argv[3], 'out').write_text(sys.argv[2])")
    source = sources.debian_package("mirror: Debian toy", "toy", lambda folder: folder / "out")
    assert source.fetch(work).read_text().endswith("toy_1_all.deb")


def test_pip_package_is_unpacked(tools, work, monkeypatch):
    _tool(
        tools,
        "python",
        "import sys, tarfile, pathlib\nassert sys.argv[1:4] == ['-m', 'pip', 'download']\n"
        "wanted = sys.argv[-1].removeprefix('--requirement=')\n"
        "with tarfile.open('toy-1.0.0.tar.gz', 'w:gz') as archive:\n"
        "    archive.add(wanted, 'toy-1.0.0/wanted.txt')",
    )
    monkeypatch.setattr(sources.sys, "executable", str(tools / "python"))
    source = sources.pip_package("mirror: toy", "toy==1.0.0", "12ab", lambda folder: folder / "toy-1.0.0/wanted.txt")
    assert source.fetch(work).read_text() == "toy==1.0.0 --hash=sha256:12ab\n"


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_package_that_is_no_archive_or_none_at_all(tools, path, content):
    _tool(tools, "npm", f"import pathlib\nif {content!r}:\n    pathlib.Path('toy.tgz').write_bytes({content!r})")
    with pytest.raises(sources.NoSourceError, match="mirror: (ReadError|StopIteration)"):
        obtain(path, sources.npm_package("mirror", "toy@1.0.0", dict))


def test_a_missing_tool_is_said_to_be_missing(tools, work):
    with pytest.raises(sources.UnreachableError, match="npm is not installed"):
        sources.npm_package("mirror", "toy@1.0.0", dict).fetch(work)
    with pytest.raises(sources.UnreachableError, match="apt-get is not installed"):
        sources.debian_package("mirror", "toy", dict).fetch(work)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys\nsys.exit('first\\nno network')", "npm failed: no network"),
        ("import sys\nsys.exit(3)", "npm failed: .*exit status 3"),
        ("import time\ntime.sleep(60)", "npm failed: no result within 0.5 s"),
    ],
)
def test_a_failing_tool_is_run_once(tools, work, monkeypatch, script, message):
    monkeypatch.setattr(sources, "TOOL_SECONDS", 0.5 if "sleep" in script else 60)
    _tool(tools, "npm", script)
    source = sources.npm_package("mirror", "toy@1.0.0", dict)
    with pytest.raises(sources.UnreachableError, match=message):
        source.fetch(work)
    (tools / "npm").unlink()
    with pytest.raises(sources.UnreachableError, match="npm failed earlier"):
        source.fetch(work)


def test_a_source_works_in_the_cache_folder_and_the_lock_is_held(path):
    def fetch(folder):
        assert folder.parent == path.parent and folder.name.endswith(f".partial.{path.name}")
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(f"{path}.lock", timeout=0).acquire()
        (folder / "delivered").write_text("text")
        return folder / "delivered"

    assert obtain(path, Source("official", fetch))[1] == "official"
    assert left(path) == ["thing.bin"]
