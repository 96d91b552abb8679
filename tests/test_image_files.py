"""Every image file, alone or in a tree, ends as an upright RGB array; everything else is named with the reason."""

import io
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras import _files
from tlkeras.data import images
from tlkeras.data.images import NotAnImageError, decode_image, read_tree

RED, BLUE = (250, 10, 10), (10, 10, 250)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(mode="RGB", size=(16, 12)):
    """Return an image whose left half is red and whose right half is blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_formats(kind):
    found = decode_image(encoded(halves(), kind))
    assert found.shape == (12, 16, 3) and found.dtype == np.uint8
    np.testing.assert_allclose(found[6, [2, 13]], [RED, BLUE], atol=40)


@pytest.mark.parametrize(("mode", "kind"), [("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")])
def test_colour_modes(mode, kind):
    found = decode_image(encoded(halves(mode), kind))
    np.testing.assert_allclose(found[6, [2, 13]], [RED, BLUE], atol=50)


def test_grey_is_repeated():
    for image in (Image.new("L", (9, 8), 77), Image.new("1", (9, 8), 1)):
        found = decode_image(encoded(image))
        assert found.shape == (8, 9, 3)
        assert np.unique(found).tolist() == [77 if image.mode == "L" else 255]


def test_sixteen_bits_become_eight():
    image = Image.fromarray(np.full((8, 9), 30_000, np.uint16))
    assert np.unique(decode_image(encoded(image))).tolist() == [30_000 // 257]


@pytest.mark.parametrize("largest", [0, 255, 4095])
def test_values_of_another_range_are_named_rather_than_black_or_clipped(largest):
    for kind in (np.uint16, np.int32):
        image = Image.fromarray(np.linspace(0, largest, 72).astype(kind).reshape(8, 9))
        with pytest.raises(NotAnImageError, match=rf"^values of 0 to {largest} where 65535 is white"):
            decode_image(encoded(image, "TIFF"))
    for beyond in (-1, 65536):
        values = np.full((8, 9), 4096, np.int32)
        values[3, 3] = beyond
        with pytest.raises(NotAnImageError, match=r"^values of .* where 65535 is white"):
            decode_image(encoded(Image.fromarray(values), "TIFF"))
    values = np.full((8, 9), 4096, np.uint16)
    assert np.unique(decode_image(encoded(Image.fromarray(values)))).tolist() == [4096 // 257]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new(mode, (10, 10), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.paste((0, 0, 0, 255) if mode == "RGBA" else (0, 255), (0, 0, 5, 10))
    found = decode_image(encoded(image))
    assert found[5, 2].tolist() == [0, 0, 0] and found[5, 8].tolist() == [255, 255, 255]


def test_a_transparent_palette():
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    assert decode_image(encoded(image, transparency=1))[5, 5].tolist() == [255, 255, 255]
    assert decode_image(encoded(image, transparency=b"\xff\xff"))[5, 5].tolist() == [200, 0, 0]


@pytest.mark.parametrize(("orientation", "left_half_is"), [(1, "left"), (3, "right"), (6, "top"), (8, "bottom")])
def test_the_cameras_rotation_is_carried_out(orientation, left_half_is):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(encoded(halves(size=(64, 48)), "JPEG", exif=exif, quality=95)).astype(int)
    assert found.shape == ((48, 64, 3) if orientation in (1, 3) else (64, 48, 3))
    height, width = found.shape[:2]
    sides = {
        "left": found[:, : width // 4],
        "right": found[:, -width // 4 :],
        "top": found[: height // 4],
        "bottom": found[-height // 4 :],
    }
    assert max(sides, key=lambda name: sides[name][..., 0].mean() - sides[name][..., 2].mean()) == left_half_is


def test_damaged_exif_does_not_matter():
    content = encoded(halves(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode_image(content).shape == (12, 16, 3)


def test_an_orientation_that_cannot_be_read_is_none(monkeypatch):
    def transpose(image):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(images.ImageOps, "exif_transpose", transpose)
    assert decode_image(encoded(halves())).shape == (12, 16, 3)


def noise():
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    return Image.fromarray(values)


BAD = {
    "text": (b"not an image at all\n", "^no image; read are JPEG, PNG"),
    "nothing": (b"", "^empty; read are"),
    "GIF": (encoded(halves(), "GIF"), "^GIF; read are"),
    "truncated JPEG": (encoded(noise(), "JPEG")[:1200], "^damaged: .*truncated"),
    "truncated PNG": (encoded(noise(), "PNG")[:1200], "^damaged: "),
    "header alone": (encoded(noise(), "JPEG")[:30], "^(damaged|no image)"),
    "one pixel": (encoded(Image.new("RGB", (1, 1))), "^1 x 1 pixels, fewer than 8"),
    "a line": (encoded(Image.new("RGB", (500, 2))), "^500 x 2 pixels"),
    "floats": (encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_picture_says_why(content, reason):
    with pytest.raises(NotAnImageError, match=reason):
        decode_image(content)


def test_an_image_that_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for size in ((40, 40), (100, 100)):  # a warning and an error of Pillow
        with pytest.raises(NotAnImageError, match="decompression bomb"):
            decode_image(encoded(Image.new("RGB", size)))


def test_larger_images_are_shrunk_and_smaller_ones_stay():
    content = encoded(halves(size=(64, 40)))
    assert decode_image(content, 20).shape == (20, 32, 3)
    assert (
        decode_image(content, 40).shape
        == decode_image(content, 300).shape
        == decode_image(content).shape
        == (40, 64, 3)
    )
    assert decode_image(encoded(Image.new("RGB", (9, 900))), 8).shape == (800, 8, 3)


def test_squares_come_from_the_middle():
    wide = decode_image(encoded(halves(size=(60, 20))))
    wide[:, 25:35] = 200
    tall = wide.transpose(1, 0, 2)
    found = images.squares([wide, tall], 10)
    assert found.shape == (2, 10, 10, 3) and found.dtype == np.uint8
    np.testing.assert_allclose(found[0, :, 4:6], 200, atol=2)
    np.testing.assert_allclose(found[0, :, 0], [RED] * 10, atol=2)
    np.testing.assert_array_equal(found[1], found[0].transpose(1, 0, 2))
    assert images.squares([], 10).shape == (0, 10, 10, 3)


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
    tree = read_tree(root)
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
    pictures, labels = read_tree(root).arrays("val", 8)
    assert pictures.shape == (5, 8, 8, 3) and pictures.dtype == np.uint8
    assert labels.tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"out of \['train', 'val'\]. Received: split='test'"):
        read_tree(root).arrays("test", 8)


def test_the_fingerprint_is_of_the_content_wherever_it_lies(root, tmp_path):
    before = read_tree(root).fingerprint
    root.rename(tmp_path / "elsewhere")
    assert read_tree(tmp_path / "elsewhere").fingerprint == before
    (tmp_path / "elsewhere/train/ants/notes.txt").write_text("left out, hence not in it")
    assert read_tree(tmp_path / "elsewhere").fingerprint == before
    picture(tmp_path / "elsewhere/train/ants/0.png", 51)
    assert read_tree(tmp_path / "elsewhere").fingerprint != before


def problems_of(root):
    """Return the problems, after checking that the sound images are all there."""
    tree = read_tree(root)
    assert tree.counts()["val"] == {"ants": 3, "bees": 2}
    return list(tree.problems)


def truncated(folder):
    path = picture(folder / "a.jpg", size=(300, 200))
    path.write_bytes(path.read_bytes()[:700])


def pipe(folder):
    os.mkfifo(folder / "a.jpg")


BAD_FILES = {
    "truncated": (truncated, "damaged: "),
    "text": (lambda folder: (folder / "a.jpg").write_text("hello"), "no image; read are"),
    "empty": (lambda folder: (folder / "a.jpg").write_bytes(b""), "empty; read are"),
    "one pixel": (lambda folder: picture(folder / "a.jpg", size=(1, 1)), "1 x 1 pixels"),
    "folder": (lambda folder: picture(folder / "a.jpg" / "b.png"), "a folder inside a class folder"),
    "link to nowhere": (lambda folder: (folder / "a.jpg").symlink_to("gone"), "cannot be read (No such file"),
    "pipe": (pipe, "no regular file"),
}


@pytest.mark.parametrize(("spoil", "reason"), BAD_FILES.values(), ids=BAD_FILES)
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
    tree = read_tree(root)
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


def test_a_folder_that_may_be_listed_but_not_entered(root, monkeypatch):
    allowed, allowed_bytes = os.stat, Path.read_bytes

    def stat(path, **options):
        if root / "train" / "bees" in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (stat(path), allowed_bytes(path))[1])
    assert problems_of(root)[0] == "train/bees/0.png: cannot be read (Permission denied)"


def test_files_beside_the_folders(root):
    (root / "README.txt").write_text("read me")
    picture(root / "val" / "stray.png")
    assert problems_of(root) == [
        "README.txt: not in split/class/image",
        "val/stray.png: not in split/class/image",
    ]


@pytest.mark.parametrize("inner", ["originals/0.jpg", "originals/old/0.jpg", "@eaDir/0.jpg", "@eaDir/0.jpg/small.jpg"])
def test_a_folder_inside_a_class_makes_no_splits_of_the_classes(root, inner):
    expected = read_tree(root / "train")
    picture(root / "train" / "bees" / inner)
    found = read_tree(root / "train")
    assert (found.counts(), found.fingerprint) == (expected.counts(), expected.fingerprint)
    hidden = inner.startswith("@eaDir")
    assert found.problems == (() if hidden else ("bees/originals: a folder inside a class folder",))


def test_images_whose_names_have_no_suffix_lie_in_classes_or_splits(root):
    for path in root.rglob("*.png"):
        path.rename(path.with_suffix(""))
    assert read_tree(root).counts() == {"train": {"ants": 3, "bees": 3}, "val": {"ants": 3, "bees": 2}}
    assert read_tree(root / "train").counts() == {"all": {"ants": 3, "bees": 3}}


HIDDEN = (".git/hooks/sample", ".ipynb_checkpoints/0.png", "__MACOSX/ants/._0.png", ".DS_Store", "@eaDir/0.png")


@pytest.mark.parametrize("split", ["", "train"])
def test_what_systems_and_editors_hide_is_skipped(root, split):
    expected = read_tree(root / split)
    places = [root, *root.glob("*"), *root.glob("*/*")]
    for hidden in [place / name for place in places for name in HIDDEN]:
        picture(hidden, format="PNG")
    found = read_tree(root / split)
    assert (found.counts(), found.problems) == (expected.counts(), ()) and found.fingerprint == expected.fingerprint


def test_empty_class_folders(root):
    (root / "train" / "wasps").mkdir()
    (root / "test" / "ants").mkdir(parents=True)
    (root / "val" / "flies").mkdir()
    (root / "val" / "flies" / "a.jpg").write_text("no fly")
    picture(root / "train" / "moths" / "0.png")
    tree = read_tree(root)
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
    assert read_tree(tmp_path).problems == ("one class only: there is nothing to tell apart",)


def test_names_of_any_script_and_of_both_ways_to_write_an_accent(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "abeille dorée") for form in ("NFC", "NFD"))
    picture(tmp_path / "train" / composed / "пчела 1.png")
    picture(tmp_path / "val" / decomposed / "蜂.png")
    picture(tmp_path / "val" / "муравьи" / "0.png")
    tree = read_tree(tmp_path)
    assert tree.class_names == (composed, "муравьи")
    assert tree.files["val"] == (f"val/{composed}/蜂.png", "val/муравьи/0.png")
    assert tree.problems == ("train/муравьи: no images",)


def test_a_name_that_is_no_text_can_be_printed():
    broken = b"train/ants/caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as a file system hands it over
    assert images._text(broken) == "train/ants/caf\ufffd.jpg"
    images._text(broken).encode("utf-8")


def test_a_tree_that_would_fill_the_memory_says_what_to_do(root, monkeypatch):
    monkeypatch.setattr(_files, "MOST_BYTES", 11 * 360)
    assert len(read_tree(root).images["train"]) == 6
    monkeypatch.setattr(_files, "MOST_BYTES", 11 * 360 - 1)
    with pytest.raises(ValueError, match=r"smaller short_side.*Received: more, in the first 11 of 11 files, short_sid"):
        read_tree(root)
    assert len(read_tree(root, short_side=8).images["train"]) == 6


def test_a_long_list_can_be_cut(root):
    for number in range(5):
        (root / "train" / "ants" / f"{number}.txt").write_text("text")
    tree = read_tree(root)
    assert len(tree.summary().splitlines()) == 8
    assert tree.summary(2).splitlines()[-1] == "  and 3 more"
    assert "more" not in tree.summary(5)
