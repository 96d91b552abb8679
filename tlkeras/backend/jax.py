"""JAX: functions compiled by XLA, which get the weights as arguments: of what they close over, they see no change."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp


def compiled(function: Callable, model: keras.Model) -> Callable:
    """Compile for each shape of batches; a training ends in few of them."""
    return _with_weights(function, model)


def compiled_as(function: Callable, kinds: Sequence[Any], model: keras.Model) -> Callable:
    """Compile when it is called."""
    return _of_kinds(_with_weights(function, model), kinds)


def drawing(function: Callable, kinds: Sequence[Any], shaping: Sequence[int] = ()) -> Callable:
    """Compile when it is called, and again for another value of an argument that shapes the result."""
    run = jax.jit(function, static_argnums=shaping)
    return _of_kinds(lambda *arrays: run(*(int(x) if i in shaping else x for i, x in enumerate(arrays))), kinds)


def _of_kinds(function: Callable, kinds: Sequence[Any]) -> Callable:
    def call(*arguments: Any) -> Any:
        arrays = keras.tree.map_structure(lambda kind, x: jnp.asarray(x, kind.dtype), list(kinds), list(arguments))
        return function(*arrays)

    return call


def _with_weights(function: Callable, model: keras.Model) -> Callable:
    variables = model.variables

    @jax.jit
    def stateless(values: list[jax.Array], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    return lambda *arguments: stateless([variable.value for variable in variables], *arguments)


def side_by_side(model: keras.Model) -> Callable:
    """Leave the cores to XLA."""
    return lambda batch: model(batch, training=False)


def each(items: jax.Array, function: Callable) -> jax.Array:
    """Map all at once."""
    return jax.vmap(function)(items)


def uniform(shape: Sequence[Any], seed: Any, low: float = 0.0, high: float = 1.0) -> jax.Array:
    """Draw with a key made of the seed."""
    return jax.random.uniform(_key(seed), tuple(shape), jnp.float32, low, high)


def normal(shape: Sequence[Any], seed: Any) -> jax.Array:
    """Draw with a key made of the seed."""
    return jax.random.normal(_key(seed), tuple(shape), jnp.float32)


def _key(seed: Any) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed[0]), seed[1])


def irfft2(real: jax.Array, imaginary: jax.Array, weights: np.ndarray, shape: tuple[int, int]) -> jax.Array:
    """Go back from half a spectrum."""
    return jnp.fft.irfft2(jax.lax.complex(real, imaginary) * weights, shape)


def gradients(function: Callable, at: jax.Array) -> tuple[tuple[jax.Array, ...], list[jax.Array | None]]:
    """Pull each value back alone; zeros where it does not depend on the tensor."""
    values, pull_back = jax.vjp(function, at)
    ones = [jnp.ones_like(value) for value in values]
    zeros = [jnp.zeros_like(value) for value in values]
    return values, [pull_back((*zeros[:i], ones[i], *zeros[i + 1 :]))[0] for i in range(len(values))]


def gradient_inside(function: Callable) -> tuple[jax.Array, jax.Array | None]:
    """Differentiate by what is added to the inner tensor, which is 0."""
    shape = jax.eval_shape(lambda: function(lambda inner: inner)[1])

    def moved(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        score, inner = function(lambda inner: inner + change)
        return score.sum(), inner

    gradient, inner = jax.grad(moved, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    return inner, gradient


def footprint(function: Callable, shape: tuple[int, ...]) -> tuple[list[tuple[int, ...]], int]:
    """Add up the results of all equations; XLA, which fuses, keeps fewer."""
    traced = jax.make_jaxpr(function)(jax.ShapeDtypeStruct(shape, jnp.float32))
    shapes = [tuple(value.shape) for value in traced.out_avals]
    return shapes, sum(variable.aval.size * variable.aval.dtype.itemsize for variable in _results(traced.jaxpr))


def _results(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        inner = [value for value in equation.params.values() if hasattr(value, "jaxpr")]
        for part in inner:
            yield from _results(part.jaxpr)
        if not inner:
            yield from equation.outvars


def gpus() -> list[str]:
    """Ask JAX."""
    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]


def deterministic() -> None:
    """Set the flag of XLA, which counts before JAX has computed anything."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
