"""The arguments that every classifier on a backbone takes, checked in one place."""


def check_arguments(
    num_classes: int, input_shape: tuple, smallest: int, weights: str | None, known: tuple[str | None, ...]
) -> None:
    """Check what every classifier on a backbone takes: classes, shape of the images, weights by name.

    Raises:
        ValueError: fewer than 2 classes, sides below `smallest`, other than 3 channels, or weights not in `known`.
    """
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    if len(input_shape) != 3 or input_shape[2] != 3 or min(side or 0 for side in input_shape[:2]) < smallest:
        raise ValueError(
            f"input_shape must be (height, width, 3) with sides from {smallest} up. Received: input_shape={input_shape}"
        )
    if weights not in known:
        raise ValueError(f"Expected weights out of {known}. Received: weights={weights!r}")
