"""A tree of images as people have them: what is in it is loaded, and everything else is named."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras.data import images as trees


def picture(path, value=100, size=(12, 10), **options):
    """Write an image of one colour, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """A sound tree: two splits, two classes, three images each but for two bees in val."""
    for split, label, count in (("train", "ants", 3), ("train", "bees", 3), ("val", "ants", 3), ("val", "bees", 2)):
        for number in range(count):
            picture(tmp_path / "photos" / split / label / f"{number}.png", 50 + 10 * number)
    return tmp_path / "photos"


def test_a_sound_tree(root):
    tree = trees.read_tree(root)
    assert tree.name == "photos" and tree.class_names == ("ants", "bees") and tree.num_classes == 2
    assert tree.counts() == {"train": {"ants": 3, "bees": 3}, "val": {"ants": 3, "bees": 2}}
    assert tree.labels["val"].tolist() == [0, 0, 0, 1, 1] and tree.labels["val"].dtype == np.int32
    assert tree.files["val"][3] == "val/bees/0.png"
    assert [image[0, 0, 0] for image in tree.images["train"]] == [50, 60, 70, 50, 60, 70]
    assert tree.images["train"][0].shape == (10, 12, 3)
    assert tree.problems == ()
    assert tree.summary() == "train: 6 images (ants 3, bees 3)\nval: 5 images (ants 3, bees 2)\nproblems: none"
    assert set(tree.provenance()) == {"name", "source", "fingerprint", "licence", "stand_in"}


def test_arrays_for_training(root):
    images, labels = trees.read_tree(root).arrays("val", 8)
    assert images.shape == (5, 8, 8, 3) and images.dtype == np.uint8
    assert labels.tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"out of \['train', 'val'\]. Received: split='test'"):
        trees.read_tree(root).arrays("test", 8)


def test_the_fingerprint_is_of_the_content_wherever_it_lies(root, tmp_path):
    before = trees.read_tree(root).fingerprint
    root.rename(tmp_path / "elsewhere")
    assert trees.read_tree(tmp_path / "elsewhere").fingerprint == before
    (tmp_path / "elsewhere/train/ants/notes.txt").write_text("left out, hence not in it")
    assert trees.read_tree(tmp_path / "elsewhere").fingerprint == before
    picture(tmp_path / "elsewhere/train/ants/0.png", 51)
    assert trees.read_tree(tmp_path / "elsewhere").fingerprint != before


def problems_of(root):
    """Return the problems, after checking that the sound images are all there."""
    tree = trees.read_tree(root)
    assert tree.counts()["val"] == {"ants": 3, "bees": 2}
    return list(tree.problems)


def truncated(folder):
    path = picture(folder / "a.jpg", size=(300, 200))
    path.write_bytes(path.read_bytes()[:700])


def pipe(folder):
    os.mkfifo(folder / "a.jpg")


BAD = {
    "truncated": (truncated, "damaged: "),
    "text": (lambda folder: (folder / "a.jpg").write_text("hello"), "no image; read are"),
    "empty": (lambda folder: (folder / "a.jpg").write_bytes(b""), "empty; read are"),
    "one pixel": (lambda folder: picture(folder / "a.jpg", size=(1, 1)), "1 x 1 pixels"),
    "folder": (lambda folder: picture(folder / "a.jpg" / "b.png"), "a folder inside a class folder"),
    "link to nowhere": (lambda folder: (folder / "a.jpg").symlink_to("gone"), "cannot be read (No such file"),
    "pipe": (pipe, "no regular file"),
}


@pytest.mark.parametrize(("spoil", "reason"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_and_the_others_are_there(root, spoil, reason):
    spoil(root / "train" / "bees")
    (problem,) = problems_of(root)
    assert problem.startswith(f"train/bees/a.jpg: {reason}")


def test_a_file_that_may_not_be_read(root, monkeypatch):
    allowed = Path.read_bytes

    def read_bytes(path):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return allowed(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    tree = trees.read_tree(root)
    assert tree.problems[0] == "train/ants/1.png: cannot be read (Permission denied)" and len(tree.problems) == 4
    assert tree.counts() == {"train": {"ants": 2, "bees": 2}, "val": {"ants": 2, "bees": 1}}


def test_a_folder_that_may_not_be_read(root, monkeypatch):
    allowed = Path.iterdir

    def iterdir(path):
        if path == root / "train" / "bees":
            raise PermissionError(13, "Permission denied")
        return allowed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    problems = problems_of(root)
    assert problems[0] == "train/bees: cannot be read (Permission denied)"
    assert problems[-1] == "train/bees: no images"


def test_files_beside_the_folders(root):
    (root / "README.txt").write_text("read me")
    picture(root / "val" / "stray.png")
    assert problems_of(root) == [
        "README.txt: not in split/class/image",
        "val/stray.png: not in split/class/image",
    ]


def test_empty_class_folders(root):
    (root / "train" / "wasps").mkdir()
    (root / "test" / "ants").mkdir(parents=True)
    (root / "val" / "flies").mkdir()
    (root / "val" / "flies" / "a.jpg").write_text("no fly")
    picture(root / "train" / "moths" / "0.png")
    tree = trees.read_tree(root)
    assert tree.class_names == ("ants", "bees", "moths") and list(tree.images) == ["train", "val"]
    assert tree.counts()["val"] == {"ants": 3, "bees": 2, "moths": 0}
    assert tree.labels["train"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    text = tree.summary()
    for problem in (
        "test/ants: no files",
        "train/wasps: no files",
        "val/flies/a.jpg: no image; read are",
        "flies: no images in any split, left out",
        "val/moths: no images",
    ):
        assert f"\n  {problem}" in text


def test_one_class_only(tmp_path):
    picture(tmp_path / "train" / "ants" / "0.png")
    assert trees.read_tree(tmp_path).problems == ("one class only: there is nothing to tell apart",)


def test_names_of_any_script_and_of_both_ways_to_write_an_accent(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "abeille dorée") for form in ("NFC", "NFD"))
    picture(tmp_path / "train" / composed / "пчела 1.png")
    picture(tmp_path / "val" / decomposed / "蜂.png")
    picture(tmp_path / "val" / "муравьи" / "0.png")
    tree = trees.read_tree(tmp_path)
    assert tree.class_names == (composed, "муравьи")
    assert tree.files["val"] == (f"val/{composed}/蜂.png", "val/муравьи/0.png")
    assert tree.problems == ("train/муравьи: no images",)


def test_a_name_that_is_no_text_can_be_printed():
    broken = b"train/ants/caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as a file system hands it over
    assert trees._text(broken) == "train/ants/caf\ufffd.jpg"
    trees._text(broken).encode("utf-8")


def test_a_long_list_can_be_cut(root):
    for number in range(5):
        (root / "train" / "ants" / f"{number}.txt").write_text("text")
    tree = trees.read_tree(root)
    assert len(tree.summary().splitlines()) == 8
    assert tree.summary(2).splitlines()[-1] == "  and 3 more"
    assert "more" not in tree.summary(5)
