"""Which pictures go through a network together: bounded by memory, and the same place for the same target."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tlkeras.visualize.objectives import Term

WIDEST = 16  # pictures in a batch; more are hardly faster on a CPU
COPIES = 4  # of each activation in memory: itself, its gradient, and what kernels keep meanwhile
READ = ("Const", "ReadVariableOp", "Placeholder", "Identity", "NoOp")  # weights, and what copies nothing


def measure(
    forwards: Sequence[Callable], shape: tuple[int, ...], memory: int, widest: int = WIDEST
) -> tuple[list[tuple[int, ...]], int]:
    """Run networks symbolically on one picture.

    Args:
        forwards: each `images (b, *shape) -> activations`.
        shape: (height, width, channels) of a picture.
        memory: bytes for a batch.
        widest: pictures in a batch at most.

    Returns:
        The shapes of the activations, and how many pictures go through at once.

    Raises:
        ValueError: no memory at all.
    """
    if memory <= 0:
        raise ValueError(f"Expected bytes of memory, from 1 up. Received: memory={memory}")
    function = tf.function(lambda images: [forward(images) for forward in forwards], autograph=False)
    traced = function.get_concrete_function(tf.TensorSpec((1, *shape)))
    operations = [operation for operation in traced.graph.get_operations() if operation.type not in READ]
    tensors = [tensor for operation in operations for tensor in operation.outputs if tensor.shape.is_fully_defined()]
    one = COPIES * sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)
    return [tuple(tensor.shape) for tensor in traced.structured_outputs], int(np.clip(memory // one, 1, widest))


def places(term: Term, width: int) -> np.ndarray:
    """Return which picture is where in which batch, `(batches, width)`, -1 where none is.

    A target's place in its batch follows from the target alone.
    """
    own = np.arange(len(term.targets)) if not term.axes else term.targets.sum(1)
    columns = own % width
    rows = np.zeros_like(columns)
    for column in np.unique(columns):
        rows[columns == column] = np.arange((columns == column).sum())
    found = np.full((rows.max() + 1, width), -1)
    found[rows, columns] = np.arange(len(columns))
    return found


def bar(parts: Sequence, description: str) -> tqdm:
    """Return a progress bar over batches, silent where nobody looks."""
    return tqdm(parts, description, unit="batch", disable=bool(os.environ.get("TQDM_DISABLE")) or None)
