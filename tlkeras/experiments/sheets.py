"""Sheets of what filters look for, films of how it was found, and how long it took."""

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tlkeras.experiments import _style, galleries

FRAME = 160  # grey around a picture, so that white ones end somewhere
GAP = 2  # pixels between the pictures of a film, white


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
    framed = np.pad(np.clip(images, 0, 255), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=FRAME)
    return galleries.gallery(framed, columns=columns, titles=titles, caption=caption)


def film(frames: np.ndarray, *, columns: int = 8, zoom: int = 3, seconds: float = 4.0) -> bytes:
    """Put the pictures of each frame side by side, and the frames one after the other.

    Args:
        frames: `(f, n, height, width, 1 or 3)`, values 0..255, such as `Pictures.frames`.
        columns: pictures in a row.
        zoom: screen pixels for a pixel.
        seconds: for one round; the last frame is shown four times as long as the others.

    Returns:
        An animated GIF. Write it to a file, or show it with `IPython.display.Image(data=...)`.

    Raises:
        ValueError: fewer than two frames, or other than 1 or 3 channels.
    """
    if frames.ndim != 5 or len(frames) < 2 or not frames.shape[1] or frames.shape[-1] not in (1, 3):
        raise ValueError(f"Expected frames (2 or more, n, height, width, 1 or 3). Received: shape={frames.shape}")
    pages = [Image.fromarray(_tiled(frame, columns).repeat(zoom, 0).repeat(zoom, 1)) for frame in frames]
    milliseconds = [round(1000 * seconds / (len(pages) + 3))] * len(pages)
    milliseconds[-1] *= 4
    file = io.BytesIO()
    pages[0].save(file, "GIF", save_all=True, append_images=pages[1:], duration=milliseconds, loop=0)
    return file.getvalue()


@matplotlib.rc_context(_style.STYLE)
def time_growth(rows: Sequence[Mapping]) -> Figure:
    """Draw seconds against the number of filters, and against the number of steps, with a line through the origin.

    Args:
        rows: `filters`, `steps`, `seconds`, and in `varied` which of the two grows.

    Returns:
        A figure of two panels. The dashed line is time in proportion, fitted by least squares.
    """
    figure, panels = _style.subplots(1, 2, height=3.4)
    for panel, name in zip(panels, ("filters", "steps"), strict=True):
        own = [row for row in rows if row["varied"] == name]
        x, seconds = (np.array([row[key] for row in own]) for key in (name, "seconds"))
        ends = np.array([0, x.max()])
        panel.plot(ends, ends * (x @ seconds) / (x @ x), "--", color=_style.GREY, label="in proportion")
        _style.points(panel, x, seconds, color=_style.BLUE, markersize=9, label="measured")
        panel.set_xlabel(name)
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("time (s)")
    _style.legend_below(figure, panels[0])
    return figure


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
