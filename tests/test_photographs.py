"""Every kind of image file ends as an upright RGB array, or with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from tlkeras.data import images
from tlkeras.data.images import NotAnImageError, decode_image

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
