"""Registry packages are fetched by their own clients and unpacked; a client that fails is not run twice."""

import stat
import sys
import tarfile

import pytest

from tlkeras.data import sources


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(sources, "_unreachable", {})


def _tool(folder, name, script):
    """Put a program called `name` in `folder`."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_npm_package_is_unpacked(tools):
    _tool(
        tools,
        "npm",
        "import sys, tarfile, pathlib\nif sys.argv[1] == 'pack':\n"
        "    pathlib.Path('hello.txt').write_text(sys.argv[-1])\n"
        "    with tarfile.open('toy-1.0.0.tgz', 'w:gz') as archive:\n"
        "        archive.add('hello.txt', 'package/hello.txt')",
    )
    source = sources.npm_package(
        "mirror: npm toy", "toy@1.0.0", lambda folder: (folder / "package/hello.txt").read_text()
    )
    assert sources.arrays_from(source) == "toy@1.0.0"


def test_an_old_python_unpacks_what_stays_inside(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)  # as in Python 3.11.2, where `filter` is unknown
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "word.txt").write_text("hello")
    with tarfile.open(folder / "toy.tgz", "w:gz") as archive:
        archive.add(tmp_path / "word.txt", "package/word.txt")
        archive.add(tmp_path / "word.txt", "../outside.txt")
    sources._unpack(folder, "*.tgz")
    assert (folder / "package/word.txt").read_text() == "hello"
    assert not (tmp_path / "outside.txt").exists()


def test_debian_package_is_unpacked(tools):
    _tool(tools, "apt-get", "import sys, pathlib\npathlib.Path('toy_1_all.deb').write_text(sys.argv[-1])")
    _tool(tools, "dpkg-deb", "import sys, pathlib\npathlib.Path(sys.argv[3], 'out').write_text(sys.argv[2])")
    source = sources.debian_package("mirror: Debian toy", "toy", lambda folder: (folder / "out").read_text())
    assert sources.arrays_from(source).endswith("toy_1_all.deb")


def test_pip_package_is_unpacked(tools, monkeypatch):
    _tool(
        tools,
        "python",
        "import sys, tarfile, pathlib\nassert sys.argv[1:4] == ['-m', 'pip', 'download']\n"
        "wanted = sys.argv[-1].removeprefix('--requirement=')\n"
        "with tarfile.open('toy-1.0.0.tar.gz', 'w:gz') as archive:\n"
        "    archive.add(wanted, 'toy-1.0.0/wanted.txt')",
    )
    monkeypatch.setattr(sources.sys, "executable", str(tools / "python"))
    source = sources.pip_package(
        "mirror: toy", "toy==1.0.0", "12ab", lambda folder: (folder / "toy-1.0.0/wanted.txt").read_text()
    )
    assert sources.arrays_from(source) == "toy==1.0.0 --hash=sha256:12ab\n"


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_package_that_is_no_archive_or_none_at_all(tools, content):
    _tool(tools, "npm", f"import pathlib\nif {content!r}:\n    pathlib.Path('toy.tgz').write_bytes({content!r})")
    with pytest.raises(sources.WrongContentError):
        sources.arrays_from(sources.npm_package("mirror", "toy@1.0.0", dict))


def test_a_missing_tool_is_said_to_be_missing(tools):
    with pytest.raises(sources.UnreachableError, match="npm is not installed"):
        sources.arrays_from(sources.npm_package("mirror", "toy@1.0.0", dict))
    with pytest.raises(sources.UnreachableError, match="apt-get is not installed"):
        sources.arrays_from(sources.debian_package("mirror", "toy", dict))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys\nsys.exit('first\\nno network')", "npm failed: no network"),
        ("import sys\nsys.exit(3)", "npm failed: .*exit status 3"),
        ("import time\ntime.sleep(60)", "npm failed: no result within 1 s"),
    ],
)
def test_a_failing_tool_is_run_once(tools, monkeypatch, script, message):
    monkeypatch.setattr(sources, "TOOL_SECONDS", 1)
    _tool(tools, "npm", script)
    source = sources.npm_package("mirror", "toy@1.0.0", dict)
    with pytest.raises(sources.UnreachableError, match=message):
        sources.arrays_from(source)
    (tools / "npm").unlink()
    with pytest.raises(sources.UnreachableError, match="npm failed earlier"):
        sources.arrays_from(source)
