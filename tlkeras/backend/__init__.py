"""What `keras.ops` has not and the package needs, on the backend that Keras runs on: one file a backend.

Compiled functions that see the weights as they are, gradients, random numbers that follow from a seed alone, and the
memory that a network takes. `tensorflow`, `jax` and `torch` have the same functions, of the same arguments.
"""

from collections.abc import Callable
from typing import Any

import keras

NAME = keras.backend.backend()

if NAME == "jax":
    from tlkeras.backend import jax as _engine
elif NAME == "torch":
    from tlkeras.backend import torch as _engine  # type: ignore[no-redef]
elif NAME == "tensorflow":
    from tlkeras.backend import tensorflow as _engine  # type: ignore[no-redef]
else:
    raise ImportError(f"Expected KERAS_BACKEND to be tensorflow, jax or torch. Received: {NAME}")

Tensor = Any  # of the backend
Function = Callable[..., Any]

compiled: Callable[[Function, keras.Model], Function] = _engine.compiled
"""`(function, model) -> function`: of arrays `(b, ...)`, compiled once for the shape and dtype of their items.

It sees the weights of `model` as they are when it is called, and gives tensors.
"""

compiled_as: Callable[..., Function] = _engine.compiled_as
"""`(function, kinds, model) -> function`: the same for arguments of the given kinds.

A kind is a `keras.KerasTensor`, where None is any size, or a list of them.
"""

drawing: Callable[..., Function] = _engine.drawing
"""`(function, kinds, shaping=()) -> function`: the same for a few draws without a model, compiled where that pays.

`shaping` are the places of arguments that are whole numbers and part of the shape of a result.
"""

side_by_side: Callable[[keras.Model], Function] = _engine.side_by_side
"""`model -> (batch) -> outputs`: inference, parts of a batch on one core each where an operation has one thread."""

each: Callable[[Tensor, Function], Tensor] = _engine.each
"""`(items (n, ...), function) -> (n, ...) float32`: of every item, whose result does not depend on the others."""

uniform: Callable[..., Tensor] = _engine.uniform
"""`(shape, seed (2,) int32, low=0, high=1) -> float32`: the same numbers for the same seed, whatever ran before."""

normal: Callable[..., Tensor] = _engine.normal
"""`(shape, seed (2,) int32) -> float32`: standard normal, as `uniform`."""

irfft2: Callable[..., Tensor] = _engine.irfft2
"""`(real, imaginary, weights, (height, width)) -> (..., height, width)`: the real picture of half a spectrum.

Each coefficient is multiplied by its weight, complex64, first.
"""

gradients: Callable[[Function, Tensor], tuple[tuple[Tensor, ...], list[Tensor | None]]] = _engine.gradients
"""`(function, at) -> (values, gradients)`: of a function of one tensor that gives a tuple of tensors.

The gradient of the sum of each, of the shape of `at`; None where the backend knows that it does not depend on it.
"""

gradient_inside: Callable[[Function], tuple[Tensor, Tensor | None]] = _engine.gradient_inside
"""`function -> (inner, gradient)`: of a function that hands an inner tensor to `watch`, and gives (score, that tensor).

`function(watch)` must go on with what `watch(inner)` returns. The gradient is that of the sum of the score.
"""

footprint: Callable[[Function, tuple[int, ...]], tuple[list[tuple[int, ...]], int]] = _engine.footprint
"""`(function, shape) -> (shapes, bytes)`: shapes of the outputs of a function of one tensor, bytes of all it makes."""

gpus: Callable[[], list[str]] = _engine.gpus
"""`() -> names` of the GPUs that the backend sees."""

deterministic: Callable[[], None] = _engine.deterministic
"""Refuse or replace whatever gives other digits each time, for the rest of the process."""


def custom_gradient(function: Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]) -> Function:
    """Return a function of one tensor with a gradient of its own.

    Args:
        function: `x -> (y, slope of y -> slope of x)`.
    """

    @keras.ops.custom_gradient
    def with_gradient(x: Tensor) -> tuple[Tensor, Function]:
        outputs, pull_back = function(x)

        def gradient(*slopes: Tensor, upstream: Tensor | None = None) -> Tensor:
            return pull_back(slopes[0] if upstream is None else upstream)  # PyTorch hands `x` over, and names the slope

        return outputs, gradient

    return with_gradient
