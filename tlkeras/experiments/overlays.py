"""Pictures of what a classifier looks at: each image, and beside it the same in grey under its heat."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import cm, colors
from matplotlib.figure import Figure

from tlkeras.experiments import _style

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # brightness of red, green and blue, ITU-R BT.601
DIMMED = 0.5  # brightness of the image below, so that heat stands out on white too, and no heat is dark as on the scale
CLIPPED = 98.0  # percentile; a few single pixels would leave the rest of a signed map dark


@matplotlib.rc_context(_style.STYLE)
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
    _check(images, heats, titles)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    panel = _style.WIDTH / (2 * columns) * images.shape[1] / images.shape[2]
    figure, panels = _style.subplots(rows, 2 * columns, height=rows * (panel + 0.35) + 1.0)
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


def _mapping(heats: np.ndarray) -> cm.ScalarMappable:
    """Return colours for all heats: from 0 up if there are no negative ones, else alike to both sides of 0."""
    if heats.min() >= 0:
        return cm.ScalarMappable(colors.Normalize(0, float(heats.max()) or 1.0), "inferno")
    limit = float(np.percentile(np.abs(heats), CLIPPED)) or float(np.abs(heats).max())
    ends = colors.LinearSegmentedColormap.from_list("signed", [_style.SKY, _style.BLACK, _style.ORANGE])
    return cm.ScalarMappable(colors.Normalize(-limit, limit, clip=True), ends)


def _blend(image: np.ndarray, heat: np.ndarray, mapping: cm.ScalarMappable) -> np.ndarray:
    """Return RGB in 0..1, `(height, width, 3)`: the stronger the heat, the less of the grey image is left."""
    grey = image[..., :1] if image.shape[-1] == 1 else image @ np.array(GREY_WEIGHTS)[:, None]
    strength = np.clip(np.abs(heat) / mapping.norm.vmax, 0, 1)[..., None]
    return (1 - strength) * DIMMED * grey / 255 + strength * mapping.to_rgba(heat)[..., :3]


def _check(images: np.ndarray, heats: np.ndarray, titles: Sequence[str] | None) -> None:
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected images (n, height, width, 1 or 3). Received: shape={images.shape}")
    if heats.shape != images.shape[:3] or not np.isfinite(heats).all():
        raise ValueError(f"Expected finite heats of shape {images.shape[:3]}. Received: shape={heats.shape}")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"Expected {len(images)} titles. Received: {len(titles)}")
