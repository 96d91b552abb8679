"""A folder of images is fetched once, whole, and found again; what cannot be used in it is said once."""

import dataclasses
import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras import data
from tlkeras.data import loading, records, sources


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
        assert remote == records.RECORDS["hymenoptera"].folder
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


def _photograph(kind="JPEG", mode="RGB", seed=0, size=(40, 30), **options):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _tree(root, contents):
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


SOUND = {
    f"{part}/{label}/{number}.jpg": _photograph(seed=number)
    for part in ("train", "val")
    for label in ("ants", "bees")
    for number in range(3)
}
STRAY = {"train/ants/imageNotFound.gif": _photograph("GIF", "P")}
rotated = Image.Exif()
rotated[0x0112] = 6
UNUSUAL = {
    "train/ants/grey.jpg": _photograph(mode="L"),
    "train/ants/transparent.png": _photograph("PNG", "RGBA"),
    "train/ants/printed.jpg": _photograph(mode="CMYK"),
    "train/ants/rotated.jpg": _photograph(exif=rotated),
    "train/ants/\u043c\u0443\u0440\u0430\u0432\u0435\u0439.jpg": _photograph(),
    "train/ants/really a PNG.jpg": _photograph("PNG"),
}
SPOILT = {
    "train/bees/truncated.jpg": _photograph(size=(300, 200))[:2000],
    "train/bees/text.jpg": b"hello",
    "train/bees/pixel.png": _photograph("PNG", size=(1, 1)),
}


def test_a_sound_tree_is_loaded_without_a_word(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = loading.load_images(_tree(tmp_path / "photos", SOUND), short_side=16)
    assert tree.counts() == {part: {"ants": 3, "bees": 3} for part in ("train", "val")}
    assert {image.shape for image in tree.images["val"]} == {(16, 21, 3)}
    assert loading.load_images(tmp_path / "photos", short_side=None).images["val"][0].shape == (30, 40, 3)


def test_one_summary_names_all_that_is_left_out_and_training_runs_through(tmp_path):
    from tlkeras import models  # here, because the data layer itself does without Keras
    from tlkeras.transfer import Phase, finetune

    root = _tree(tmp_path / "photos", SOUND | UNUSUAL | SPOILT | STRAY)
    (root / "train" / "wasps").mkdir()
    with pytest.warns(data.SkippedFilesWarning) as caught:
        tree = data.loading.load_images(root)
    (warning,) = caught
    assert warning.filename == __file__
    for name in [*SPOILT, *STRAY, "train/wasps"]:
        assert str(warning.message).count(f"  {name}: ") == 1
    assert len(tree.problems) == len(SPOILT) + len(STRAY) + 1
    assert tree.counts()["train"] == {"ants": 3 + len(UNUSUAL), "bees": 3}
    assert tree.images["train"][[*tree.files["train"]].index("train/ants/rotated.jpg")].shape == (40, 30, 3)

    model = models.tominet(tree.num_classes, (16, 16, 3), filters=(2, 2))
    images, labels = tree.arrays("train", 16)
    history = finetune(model, (images, labels), None, [Phase("all", "all", 2, 1e-3)], batch_size=4, seed=0)
    assert np.isfinite(history.loss).all() and len(history.loss) == 2


@pytest.fixture
def ants_and_bees(home, monkeypatch):
    """The named data set in the cache, six images a part, and a record that knows so."""
    record = dataclasses.replace(records.RECORDS["hymenoptera"], sizes=((6, 6),), editions={})
    monkeypatch.setitem(records.RECORDS, "hymenoptera", record)
    return _tree(home / "datasets" / "hymenoptera", SOUND | STRAY)


def test_by_name_the_known_stray_file_is_reported_without_a_warning(ants_and_bees):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = loading.load_images("hymenoptera")
    assert tree.counts() == {part: {"ants": 3, "bees": 3} for part in ("train", "val")}
    assert tree.problems == ("train/ants/imageNotFound.gif: GIF; read are JPEG, PNG, WEBP, BMP, TIFF, PPM",)
    assert tree.provenance() | {"fingerprint": ""} == {
        "name": "hymenoptera",
        "source": "cache",
        "fingerprint": "",
        "licence": "not stated for the data",
        "stand_in": False,
    }
    with pytest.warns(data.SkippedFilesWarning, match="imageNotFound.gif"):
        loading.load_images(ants_and_bees)  # by path it is a tree like any other


def test_by_name_missing_images_are_said(ants_and_bees):
    (ants_and_bees / "val" / "bees" / "2.jpg").unlink()
    with pytest.warns(data.SkippedFilesWarning, match=r"\(6, 5\) images: on record are \(\(6, 6\),\)"):
        loading.load_images("hymenoptera")


def test_the_edition_is_known_by_its_content(ants_and_bees, monkeypatch):
    fingerprint = loading.load_images("hymenoptera").fingerprint
    record = dataclasses.replace(records.RECORDS["hymenoptera"], editions={fingerprint: "made here"})
    monkeypatch.setitem(records.RECORDS, "hymenoptera", record)
    assert loading.load_images("hymenoptera").source == "cache (made here)"


def test_the_stand_in_is_named_and_taken_where_it_must_be(monkeypatch):
    monkeypatch.setattr(sources, "download", None)
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    tree = loading.load_images("hymenoptera")
    assert tree.stand_in and tree.provenance()["stand_in"] and "(stand-in)" in tree.source
    assert set(tree.class_names) != {"ants", "bees"}
    assert [list(sizes.values()) for sizes in tree.counts().values()] == [[24, 24], [16, 16]]
    images, labels = tree.arrays("val", 64)
    assert images.shape == (32, 64, 64, 3) and len(labels) == len(tree.files["val"]) == 32
    with pytest.raises(data.DataUnavailableError, match="switched off"):
        loading.load_images("hymenoptera", embedded=False)
    monkeypatch.setenv("TLKERAS_PROFILE", "quick")
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.warns(data.StandInWarning, match=r"hymenoptera: embedded: 80 patches .*\(stand-in\) is used, since"):
        assert loading.load_images("hymenoptera").fingerprint == tree.fingerprint


def test_the_record_of_ants_and_bees():
    record = records.RECORDS["hymenoptera"]
    assert record.sizes == ((244, 153),) and record.class_names == ("ants", "bees")


def test_no_tree(tmp_path):
    with pytest.raises(ValueError, match="Expected a folder .*Received: path='.*nowhere'"):
        loading.load_images(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Received: path='.*file'"):
        loading.load_images(tmp_path / "file")
    with pytest.raises(ValueError, match=r"load\('mnist'\)"):
        loading.load_images("mnist")
    for number in range(30):  # class/image, without splits
        _tree(tmp_path / "flat", {f"ants/{number}.jpg": SOUND["val/ants/0.jpg"]})
    message = (
        r"(?s)Expected images in split/class/image, found .*ants/0.jpg: not in split.*and 10 more\nReceived: path="
    )
    with pytest.raises(ValueError, match=message):
        loading.load_images(Path(tmp_path / "flat"))
