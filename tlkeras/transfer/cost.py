"""What a training costs, counted instead of timed: floating-point operations of the layers that multiply."""

import math

import keras

from tlkeras.transfer.freezing import Train, trained_layers


def forward_flops(model: keras.Model) -> dict[str, int]:
    """Count the floating-point operations of one image through each convolution and dense layer, in model order.

    A multiplication with its addition counts as 2; activations, pooling and normalisation are left out (about 1 %).

    Args:
        model: a flat functional model of a fixed input size.
    """
    counted = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            positions = math.prod(layer.output.shape[1:-1])
            counted[layer.name] = 2 * positions * math.prod(layer.kernel.shape)
    return counted


def training_flops(model: keras.Model, train: Train, images: int, epochs: int, *, cached: bool) -> int:
    """Count the floating-point operations of a training; validation is left out.

    A trained layer costs three times its forward pass: forward, gradient of its weights, gradient of its inputs. The
    lowest trained one needs no gradient of its inputs, a frozen one above it none of its weights, and those below run
    forward only: in every epoch, or once if their features are cached.

    Args:
        model: a flat functional model of a fixed input size.
        train: see `freezing.trained_layers`.
        images: in the training set.
        epochs: passes over them.
        cached: whether features below the first trained layer are computed once.

    Raises:
        ValueError: unknown layers.
    """
    forward, chosen = forward_flops(model), trained_layers(model, train)
    order = list(forward)
    first = min((order.index(name) for name in chosen if name in forward), default=len(order))
    below = sum(forward[name] for name in order[:first])
    above = sum(_passes(name, order[first], chosen) * forward[name] for name in order[first:])
    return images * (below * (1 if cached else epochs) + above * epochs)


def _passes(name: str, first: str, chosen: list[str]) -> int:
    return 3 - (name == first) - (name not in chosen)
