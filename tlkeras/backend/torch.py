"""PyTorch: nothing is compiled; gradients are kept where they are asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


def compiled(function: Callable, model: keras.Model) -> Callable:
    """Run it as it is, without what a gradient would need."""
    return torch.no_grad()(lambda *arrays: function(*map(keras.ops.convert_to_tensor, arrays)))


def compiled_as(function: Callable, kinds: Sequence[Any], model: keras.Model) -> Callable:
    """Run it as it is, without what a gradient would need."""
    return drawing(function, kinds)


def drawing(function: Callable, kinds: Sequence[Any], shaping: Sequence[int] = ()) -> Callable:
    """Run it as it is, without what a gradient would need."""

    def run(*arguments: Any) -> Any:
        tensors = keras.tree.map_structure(
            lambda kind, x: keras.ops.convert_to_tensor(x, kind.dtype), list(kinds), list(arguments)
        )
        known = [int(x) if place in shaping else x for place, x in enumerate(tensors)]
        return function(*known)

    return torch.no_grad()(run)


def side_by_side(model: keras.Model) -> Callable:
    """Leave the cores to PyTorch."""
    return lambda batch: model(batch, training=False)


def each(items: torch.Tensor, function: Callable) -> torch.Tensor:
    """Map one after the other."""
    return torch.stack([function(item) for item in items])


def uniform(shape: Sequence[Any], seed: Any, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Draw with a generator of this seed, on the CPU: a GPU has other numbers."""
    drawn = torch.rand(tuple(map(int, shape)), generator=_generator(seed))
    return keras.ops.convert_to_tensor(low + (high - low) * drawn)


def normal(shape: Sequence[Any], seed: Any) -> torch.Tensor:
    """Draw with a generator of this seed, on the CPU: a GPU has other numbers."""
    return keras.ops.convert_to_tensor(torch.randn(tuple(map(int, shape)), generator=_generator(seed)))


def _generator(seed: Any) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(int(seed[0]) * 2**31 + int(seed[1]))


def irfft2(real: torch.Tensor, imaginary: torch.Tensor, weights: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """Go back from half a spectrum."""
    return torch.fft.irfft2(torch.complex(real, imaginary) * keras.ops.convert_to_tensor(weights), shape)


def gradients(function: Callable, at: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], list[torch.Tensor | None]]:
    """Differentiate each value by the same graph."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        values = function(at)
    return tuple(value.detach() for value in values), [_gradient(value, at) for value in values]


def gradient_inside(function: Callable) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Differentiate by the inner tensor."""
    with torch.enable_grad():
        score, inner = function(lambda inner: inner if inner.requires_grad else inner.requires_grad_())
    return inner.detach(), _gradient(score, inner)


def _gradient(value: torch.Tensor, at: torch.Tensor) -> torch.Tensor | None:
    if not value.requires_grad:
        return None
    return torch.autograd.grad(value, at, torch.ones_like(value), retain_graph=True, allow_unused=True)[0]


class _Counted(TorchDispatchMode):
    """Adds up the bytes of what each operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self.bytes += sum(part.nbytes for part in keras.tree.flatten(outputs) if isinstance(part, torch.Tensor))
        return outputs


def footprint(function: Callable, shape: tuple[int, ...]) -> tuple[list[tuple[int, ...]], int]:
    """Run it once, on zeros."""
    with torch.no_grad(), _Counted() as counted:
        outputs = function(keras.ops.zeros(shape, "float32"))
    return [tuple(output.shape) for output in outputs], counted.bytes


def gpus() -> list[str]:
    """Ask PyTorch."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def deterministic() -> None:
    """Switch PyTorch's own kernels."""
    torch.use_deterministic_algorithms(True)
