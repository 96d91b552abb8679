"""A folder of images is fetched once, whole, and found again."""

import zipfile

import pytest

from tlkeras import data
from tlkeras.data import datasets, sources


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Start each test with an empty cache, and the network allowed (of which no test makes use)."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    monkeypatch.delenv("TLKERAS_OFFLINE", raising=False)
    return tmp_path / "home"


def _folder_archive(path, labels=("ants", "bees")):
    with zipfile.ZipFile(path, "w") as archive:
        for part in ("train", "val"):
            for label in labels:
                archive.writestr(f"hymenoptera_data/{part}/{label}/0.jpg", b"image")


def test_folder_is_fetched_once(monkeypatch, home, tmp_path):
    def download(remote, folder):
        assert remote == datasets.RECORDS["hymenoptera"].folder
        _folder_archive(folder / "archive.zip")
        return folder / "archive.zip"

    monkeypatch.setattr(sources, "download", download)
    path = data.folder("hymenoptera")
    assert path == home / "datasets" / "hymenoptera"
    assert (path / "val" / "bees" / "0.jpg").read_bytes() == b"image"
    monkeypatch.setattr(sources, "download", None)
    assert data.folder("hymenoptera") == path
    assert data.status("hymenoptera")[0]["cached"]
    assert sorted(item.name for item in path.parent.iterdir()) in (["hymenoptera"], ["hymenoptera", "hymenoptera.lock"])


def test_folder_that_cannot_be_had(monkeypatch, home):
    def other_archive(remote, folder):
        _folder_archive(folder / "archive.zip", labels=("ants",))
        return folder / "archive.zip"

    def gone(remote, folder):
        raise sources.HttpStatusError("HTTP status 404")

    for download, message in ((other_archive, "no folder in the archive"), (gone, "HTTP status 404")):
        monkeypatch.setattr(sources, "download", download)
        with pytest.raises(data.DataUnavailableError, match=f"(?s)no folder .*{message}.*Received: name='hymenoptera'"):
            data.folder("hymenoptera")
    assert not [item for item in (home / "datasets").iterdir() if item.suffix != ".lock"]
    home.joinpath("datasets", "hymenoptera.lock").unlink(missing_ok=True)
    home.joinpath("datasets").rmdir()
    home.joinpath("datasets").write_text("in the way")
    with pytest.raises(data.DataUnavailableError, match="cannot be written"):
        data.folder("hymenoptera")


def test_load_and_folder_point_to_each_other():
    with pytest.raises(ValueError, match=r"folder\('hymenoptera'\)"):
        data.load("hymenoptera")
    with pytest.raises(ValueError, match=r"load\('mnist'\)"):
        data.folder("mnist")


@pytest.mark.parametrize(("variable", "value"), [("TLKERAS_PROFILE", "smoke"), ("TLKERAS_OFFLINE", "1")])
def test_nothing_is_asked_offline(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sources, "download", None)
    with pytest.raises(data.DataUnavailableError, match="network: switched off"):
        data.folder("hymenoptera")
