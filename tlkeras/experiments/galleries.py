"""Pictures of images: a grid, each with its label."""

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tlkeras.experiments import _style

LETTER = 0.1  # inches, of a letter of the 12 point text


@matplotlib.rc_context(_style.STYLE)
def gallery(images: np.ndarray, *, columns: int, titles: Sequence[str] | None = None, caption: str = "") -> Figure:
    """Draw images row by row.

    Args:
        images: `(n, height, width, 1 or 3)`, values 0..255.
        columns: images in a row.
        titles: above each image, wrapped where they are wider; None for none.
        caption: above the figure.

    Returns:
        The figure.

    Raises:
        ValueError: no images, or other than 1 or 3 channels.
    """
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected images (n, height, width, 1 or 3). Received: shape={images.shape}")
    rows = -(-len(images) // columns)
    figure, panels = _style.subplots(rows, columns, height=8 * rows / columns + 0.4)
    for panel in panels:
        panel.axis("off")
    for index, image in enumerate(images):
        panels[index].imshow(image.squeeze().astype(np.uint8), cmap="gray", vmin=0, vmax=255)
        if titles is not None:
            panels[index].set_title(_wrapped(titles[index], columns))
    figure.suptitle(caption)
    return figure


def _wrapped(title: str, columns: int) -> str:
    """Break the lines of a title that are wider than a column; names_of_files come apart at their underscores."""
    widest = int(_style.WIDTH / columns / LETTER)
    lines = [line if len(line) <= widest else line.replace("_", " ") for line in title.splitlines()]
    return "\n".join(textwrap.fill(line, widest) for line in lines)
