"""Further strategies of the literature, of the same signature as the three of the slides; see `strategies.phases`.

| strategy | trains | source |
| --- | --- | --- |
| `direct` | everything at once, the new classifier not first | the baseline of Kumar et al. 2022 |
| `lp_ft` | the classifier alone (a linear probe), then everything | Kumar et al. 2022, arXiv:2202.10054 |
| `l2_sp` | everything, pulled back to where it started | Li, Grandvalet and Davoine 2018, arXiv:1802.01483 |
| `layerwise` | everything, lower layers at smaller rates | Howard and Ruder 2018, arXiv:1801.06146, section 3.2 |
| `surgical_1`, `surgical_2`, ... | one block and the classifier | Lee et al. 2023, arXiv:2210.11466 |
| `mixup` | everything, on blends of two images each | Zhang et al. 2018, arXiv:1710.09412 |
"""

from collections.abc import Sequence
from typing import Any

import keras

from tlkeras.transfer.phases import graded

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)
WHOLE = ("direct", "lp_ft", "l2_sp", "layerwise", "mixup")  # train every layer
SURGICAL = "surgical_"  # and the number of a block, from 1 up
PULL, DECAY = 0.1, 0.01  # of L2-SP: to the start, and of the new classifier to zero; ours
FIRST_RATE = 0.01  # of the lowest layer, as a share of the rate; ours, as in report 004
MIXING = 0.2  # of mixup; its paper takes 0.1 to 0.4 for ImageNet


def blocks(model: keras.Model, names: Sequence[str]) -> list[list[str]]:
    """Group layers by the size of the convolutions' maps: a block lies between two reductions of the image.

    SqueezeNet has four (conv1; fire2 and fire3; fire4 and fire5; fire6 to fire9), VGG16 five.

    Args:
        model: a flat model of a fixed input size.
        names: of its layers with weights below the classifier, in model order.

    Returns:
        Lists of names, lowest block first.

    Raises:
        ValueError: the size of a map is not known before the model runs.
    """
    found: list[list[str]] = []
    last: tuple | None = None
    for name in names:
        layer = model.get_layer(name)
        size = tuple(layer.output.shape[1:-1])
        if None in size:
            raise ValueError(f"Expected a model of a fixed input size. Received: maps of shape {size} from {name!r}")
        if not found or (isinstance(layer, CONVOLUTIONS) and size != last):
            found.append([])
        found[-1].append(name)
        last = size if isinstance(layer, CONVOLUTIONS) else last
    return found


def block_number(strategy: str) -> int:
    """Return the number of the block that a surgical strategy trains, and 0 for any other strategy."""
    number = strategy.removeprefix(SURGICAL)
    return int(number) if number != strategy and number.isdecimal() else 0


def changes(model: keras.Model, strategy: str, base: Sequence[str], classifier: Sequence[str]) -> dict[str, Any]:
    """Return what a strategy changes in the main phase: fields of `Phase`, none for most strategies.

    Args:
        model: a flat classifier.
        strategy: its name.
        base: the layers below the classifier.
        classifier: the layers of the classifier.
    """
    if strategy == "l2_sp":
        return {"pull": dict.fromkeys(base, PULL), "decay": dict.fromkeys(classifier, DECAY)}
    if strategy == "layerwise":
        return {"multipliers": graded(model, FIRST_RATE)}
    return {"mixup": MIXING} if strategy == "mixup" else {}
