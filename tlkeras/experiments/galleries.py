"""Pictures of images: galleries, heat over images, sheets of filters, and films."""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import cm, colors
from matplotlib.figure import Figure
from PIL import Image

from tlkeras.experiments import figures

_LETTER = 0.1  # inches, of a letter of the 12 point text
_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # brightness of red, green and blue, ITU-R BT.601
DIMMED = 0.5  # brightness of the image below, so that heat stands out on white too, and no heat is dark as on the scale
_CLIPPED = 98.0  # percentile; a few single pixels would leave the rest of a signed map dark
_FRAME = 160  # grey around a picture, so that white ones end somewhere
GAP = 2  # pixels between the pictures of a film, white


@figures.in_style
def gallery(images: np.ndarray, *, columns: int, titles: Sequence[str] | None = None, caption: str = "") -> Figure:
    """Draw images row by row.

    Args:
        images: `(n, height, width, 1 or 3)`, values 0..255.
        columns: images in a row.
        titles: above each image, wrapped between words where they are wider, all smaller where a word is; None for
            none.
        caption: above the figure.

    Returns:
        The figure.

    Raises:
        ValueError: no images, or other than 1 or 3 channels.
    """
    _check_images(images)
    shown, size = _wrapped(titles or (), columns)
    rows = -(-len(images) // columns)
    figure, panels = figures.subplots(rows, columns, height=8 * rows / columns + 0.4)
    for panel in panels:
        panel.axis("off")
    for panel, image in zip(panels, images, strict=False):
        panel.imshow(image.squeeze().astype(np.uint8), cmap="gray", vmin=0, vmax=255)
    for panel, title in zip(panels, shown, strict=False):
        panel.set_title(title, fontsize=size)
    figure.suptitle(caption)
    return figure


@figures.in_style
def overlays(
    images: np.ndarray,
    heats: np.ndarray,
    *,
    columns: int = 2,
    titles: Sequence[str] | None = None,
    caption: str = "",
    label: str = "heat (1: the hottest pixel of the image)",
) -> Figure:
    """Draw pairs of panels row by row: an image, and its grey copy under the heat.

    Heat without negative values goes from dark to light, signed maps from blue over dark to orange; both are told
    apart by people with any colour vision.

    Args:
        images: `(n, height, width, 1 or 3)`, values 0..255.
        heats: `(n, height, width)`, finite, of any range; the scale is common to all.
        columns: pairs in a row.
        titles: above each image; None for none.
        caption: above the figure.
        label: beside the scale: what the heat is, and its unit.

    Returns:
        The figure.

    Raises:
        ValueError: no images, other than 1 or 3 channels, heats of another shape or not finite, or other than one
            title an image.
    """
    _check_images(images)
    if heats.shape != images.shape[:3] or not np.isfinite(heats).all():
        raise ValueError(f"Expected finite heats of shape {images.shape[:3]}. Received: shape={heats.shape}")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"Expected {len(images)} titles. Received: {len(titles)}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    panel = figures.WIDTH / (2 * columns) * images.shape[1] / images.shape[2]
    figure, panels = figures.subplots(rows, 2 * columns, height=rows * (panel + 0.35) + 1.0)
    mapping = _mapping(heats)
    for axes in panels:
        axes.axis("off")
    for index, (image, heat) in enumerate(zip(images, heats, strict=True)):
        panels[2 * index].imshow(image.squeeze().astype(np.uint8), cmap="gray", vmin=0, vmax=255)
        panels[2 * index + 1].imshow(_blend(image, heat, mapping))
        if titles is not None:
            panels[2 * index].set_title(titles[index], loc="left")
    bar = figure.colorbar(mapping, ax=panels, orientation="horizontal", aspect=40, shrink=0.7, label=label)
    bar.outline.set_visible(False)
    figure.suptitle(caption)
    return figure


def filter_sheet(
    images: np.ndarray, rows: Sequence[Mapping] | None = None, *, columns: int = 8, caption: str = ""
) -> Figure:
    """Draw the pictures of filters row by row, as figures 6 and 7 of report 002 do, each with its number.

    Args:
        images: `(n, height, width, 1 or 3)`, values 0..255; what is outside is clipped.
        rows: what is known of each filter, from `visualize.filter_rows`: its `filter`, the activation `after`, and
            whether it is `dead`. None: only numbers, from 0 up.
        columns: pictures in a row.
        caption: above the sheet.

    Returns:
        The figure. A title is the filter's number and the activation that its picture reaches, or "dead".

    Raises:
        ValueError: no images, other than 1 or 3 channels, or other than one row an image.
    """
    if rows is not None and len(rows) != len(images):
        raise ValueError(f"Expected one row for each of {len(images)} images. Received: {len(rows)} rows")
    titles = [str(number) for number in range(len(images))] if rows is None else [_title(row) for row in rows]
    framed = np.pad(np.clip(images, 0, 255), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=_FRAME)
    return gallery(framed, columns=columns, titles=titles, caption=caption)


def film(frames: np.ndarray, *, columns: int = 8, zoom: int = 3, seconds: float = 4.0, shades: int = 256) -> bytes:
    """Put the pictures of each frame side by side, and the frames one after the other.

    Args:
        frames: `(f, n, height, width, 1 or 3)`, values 0..255, such as `Pictures.frames`.
        columns: pictures in a row.
        zoom: screen pixels for a pixel.
        seconds: for one round; the last frame is shown four times as long as the others.
        shades: of each colour, 2 to 256; a film of 16 is less than half as large.

    Returns:
        An animated GIF. Write it to a file, or show it with `IPython.display.Image(data=...)`.

    Raises:
        ValueError: fewer than two frames, or other than 1 or 3 channels.
    """
    if frames.ndim != 5 or len(frames) < 2 or not frames.shape[1] or frames.shape[-1] not in (1, 3):
        raise ValueError(f"Expected frames (2 or more, n, height, width, 1 or 3). Received: shape={frames.shape}")
    steps = 255 / (shades - 1)
    tiled = ((_tiled(frame, columns) / steps).round() * steps for frame in frames)
    pages = [Image.fromarray(frame.round().astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)) for frame in tiled]
    milliseconds = [round(1000 * seconds / (len(pages) + 3))] * len(pages)
    milliseconds[-1] *= 4
    file = io.BytesIO()
    pages[0].save(file, "GIF", save_all=True, append_images=pages[1:], duration=milliseconds, loop=0, optimize=True)
    return file.getvalue()


def _check_images(images: np.ndarray) -> None:
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected images (n, height, width, 1 or 3). Received: shape={images.shape}")


def _wrapped(titles: Sequence[str], columns: int) -> tuple[list[str], float]:
    """Break titles that are wider than a column between words; return them, and the size at which every word fits.

    The names_of_files in wide lines come apart at their underscores.
    """
    widest = int(figures.WIDTH / columns / _LETTER)
    titles = ["\n".join(_parted(line, widest) for line in title.splitlines()) for title in titles]
    longest = max((len(word) for title in titles for word in title.split()), default=0)
    letters = max(widest, longest)
    wrapped = ["\n".join(textwrap.fill(line, letters) for line in title.splitlines()) for title in titles]
    return wrapped, figures.FONT * widest / letters


def _parted(line: str, widest: int) -> str:
    return line if len(line) <= widest else line.replace("_", " ")


def _mapping(heats: np.ndarray) -> cm.ScalarMappable:
    """Return colours for all heats: from 0 up if there are no negative ones, else alike to both sides of 0."""
    if heats.min() >= 0:
        return cm.ScalarMappable(colors.Normalize(0, float(heats.max()) or 1.0), "inferno")
    limit = float(np.percentile(np.abs(heats), _CLIPPED)) or float(np.abs(heats).max())
    ends = colors.LinearSegmentedColormap.from_list("signed", [figures.SKY, figures.BLACK, figures.ORANGE])
    return cm.ScalarMappable(colors.Normalize(-limit, limit, clip=True), ends)


def _blend(image: np.ndarray, heat: np.ndarray, mapping: cm.ScalarMappable) -> np.ndarray:
    """Return RGB in 0..1, `(height, width, 3)`: the stronger the heat, the less of the grey image is left."""
    grey = image[..., :1] if image.shape[-1] == 1 else image @ np.array(_GREY_WEIGHTS)[:, None]
    strength = np.clip(np.abs(heat) / mapping.norm.vmax, 0, 1)[..., None]
    return (1 - strength) * DIMMED * grey / 255 + strength * mapping.to_rgba(heat)[..., :3]


def _title(row: Mapping) -> str:
    reached = "dead" if row["dead"] else f"{row['after']:.2g}".replace("0.", ".", 1)
    return f"{row['filter']}: {reached}"


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Return `(n, height, width, channels)` as one uint8 image, without an axis of one channel."""
    count, height, width, channels = images.shape
    columns = min(columns, count)
    lines = math.ceil(count / columns)
    page = np.full((lines * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8)
    for index, image in enumerate(np.clip(images, 0, 255).round().astype(np.uint8)):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        page[top : top + height, left : left + width] = image
    return page.squeeze(-1) if channels == 1 else page
