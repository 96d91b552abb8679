"""Image files as people have them, to RGB arrays: any mode, upright, and a reason where there is no picture in one."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
SMALLEST = 8  # pixels; smaller ones are placeholders and counters of web pages


class NotAnImageError(ValueError):
    """A file holds no picture that could be used; the message is the reason, in a few words."""


def decode(content: bytes, short_side: int | None = None) -> np.ndarray:
    """Decode an image file by its content, whatever its name.

    Grey values are repeated, CMYK is converted, transparency is laid on white, 16 bits become 8, and the rotation that
    a camera wrote down is carried out.

    Args:
        content: the bytes of the file.
        short_side: pixels to which a larger image is shrunk (antialiased); None leaves all as they are.

    Returns:
        uint8 RGB, `(height, width, 3)`.

    Raises:
        NotAnImageError: a format that is not read, a damaged or truncated file, fewer than 8 pixels on a side, so many
            that they look like an attack, or floating-point values, whose range is anybody's guess.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF and the like: the picture is there
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return np.array(_shrunk(_rgb(_upright(image)), short_side))
    except NotAnImageError:
        raise
    except UnidentifiedImageError as error:
        kind = "GIF" if content.startswith(b"GIF8") else "no image" if content else "empty"
        raise NotAnImageError(f"{kind}; read are {', '.join(FORMATS)}") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others, by the kind of damage
        raise NotAnImageError(f"damaged: {error}") from error


def squares(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Cut the square from the middle of each image, and resize it (antialiased).

    Args:
        images: uint8 RGB, each `(height, width, 3)`.
        side: of the result, in pixels.

    Returns:
        uint8 `(n, side, side, 3)`.
    """
    fitted = np.empty((len(images), side, side, 3), np.uint8)
    for index, image in enumerate(images):
        fitted[index] = ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BILINEAR)
    return fitted


def _upright(image: Image.Image) -> Image.Image:
    """Return the decoded image as its EXIF orientation says."""
    image.load()
    if min(image.size) < SMALLEST:
        raise NotAnImageError(f"{image.width} x {image.height} pixels, fewer than {SMALLEST} on a side")
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # an orientation that cannot be read is none
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise NotAnImageError("floating-point values of unknown range")
    if image.mode.startswith("I"):  # 16 bits a pixel
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _shrunk(image: Image.Image, short_side: int | None) -> Image.Image:
    if short_side is None or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize([max(short_side, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
