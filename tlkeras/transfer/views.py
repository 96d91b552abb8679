"""A fixed set of crops and mirror images, so that the features of augmented images can be cached."""

import numpy as np

COUNTS = (1, 2, 10)


def fixed_views(images: np.ndarray, side: int, count: int) -> list[np.ndarray]:
    """Cut the same squares out of each image.

    Args:
        images: `(n, height, width, channels)`.
        side: of the squares, in pixels.
        count: 1 (the middle), 2 (and mirrored), or 10 (the middle and the four corners, each and mirrored).

    Returns:
        `count` arrays `(n, side, side, channels)`, the middle first.

    Raises:
        ValueError: another count, or images smaller than the squares.

    Reference: Krizhevsky et al. 2012, section 4.1 (ten patches).
    """
    height, width = images.shape[1:3]
    if count not in COUNTS or side > min(height, width):
        raise ValueError(
            f"Expected a count out of {COUNTS}, and images of at least {side} pixels. "
            f"Received: count={count}, shape={images.shape}"
        )
    bottom, right = height - side, width - side
    corners = [(bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = [images[:, top : top + side, left : left + side] for top, left in corners[: (count + 1) // 2]]
    return crops if count == 1 else [view for crop in crops for view in (crop, crop[:, :, ::-1])]
