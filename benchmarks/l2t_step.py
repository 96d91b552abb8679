"""Algorithm 1 of report 003 in plain PyTorch: a peer that this project wrote after the published description.

`python -m benchmarks.l2t_step FILE`: weights and a batch come from FILE (.npz, written by `benchmarks.l2t`); prints
JSON. It is no part of the official code, which cannot be run from here. Second derivatives are left to autograd; moving
statistics, which cost next to nothing, are left out.
"""

import json
import sys
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from benchmarks.timing import fastest_seconds

THREADS, REPEATS = 2, 5
BETA, LOOKAHEAD, MOMENTUM, DECAY, EPSILON = 0.5, 2, 0.9, 1e-4, 1e-5
META_RATE, DECAYS, TINY = 1e-4, (0.9, 0.999), 1e-8
FEATURES = ("s1b5", "s2b5", "s3b5")
POOLED = (1, 2, 4, 6, 8)  # convolutions of VGG-9 before a pooling
Tensors = dict[str, torch.Tensor]


class Learned(NamedTuple):
    """What an iteration changes, by name; `phi` is empty without meta-networks."""

    theta: Tensors  # convolutions (filters, channels, height, width), branches `branch/<pair>/kernel` (inputs, outputs)
    velocities: Tensors
    phi: Tensors  # named as `MetaNetworks.names`
    moments: tuple[Tensors, Tensors]


def iteration(
    learned: Learned, source: Tensors, images: torch.Tensor, labels: torch.Tensor, rate: float, step: int = 1
) -> tuple[Learned, dict[str, Any]]:
    """Return what one iteration makes of `learned`, and its losses and meta-gradients.

    Args:
        learned: before.
        source: weights of ResNet32.
        images: `(batch, 3, 32, 32)`, preprocessed.
        labels: `(batch,)` int64.
        rate: of SGD.
        step: number of the iteration, from 1 up.
    """
    matched = any(name.startswith("branch") for name in learned.theta)
    with torch.no_grad():
        features = _source(source, images) if matched else []
    phi = {name: value.requires_grad_() for name, value in learned.phi.items()}

    def losses(theta: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        maps, logits = _target(theta, images)
        matching = _matching(theta, phi, features, maps) if matched else logits.new_zeros(())
        return functional.cross_entropy(logits, labels), matching

    theta = {name: value.detach().requires_grad_() for name, value in learned.theta.items()}
    entropy, matching = losses(theta)
    theta, velocities = _sgd(theta, learned.velocities, _gradients(entropy + matching, theta), rate)
    theta, velocities = ({name: x.detach() for name, x in part.items()} for part in (theta, velocities))
    found: dict[str, Any] = {"cross_entropy": entropy.item(), "matching": matching.item()}
    if not phi:
        return learned._replace(theta=theta, velocities=velocities), found
    ahead, moving, inner = {name: value.clone().requires_grad_() for name, value in theta.items()}, velocities, []
    for number in range(LOOKAHEAD + 1):
        loss = losses(ahead)[number < LOOKAHEAD]
        inner.append(loss.item())
        ahead, moving = _sgd(ahead, moving, _gradients(loss, ahead, create_graph=True), rate)
    final = losses(ahead)[0]
    slopes = dict(zip(phi, torch.autograd.grad(final, list(phi.values())), strict=True))
    found |= {"lookahead": inner, "after": final.item(), "slopes": slopes}
    phi, moments = _adam(phi, learned.moments, slopes, step)
    return Learned(theta, velocities, phi, moments), found


def _gradients(loss: torch.Tensor, theta: Tensors, create_graph: bool = False) -> Tensors:
    found = torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph, allow_unused=True)
    return {
        name: torch.zeros_like(value) if slope is None else slope
        for (name, value), slope in zip(theta.items(), found, strict=True)
    }


def _sgd(theta: Tensors, velocities: Tensors, slopes: Tensors, rate: float) -> tuple[Tensors, Tensors]:
    velocities = {name: MOMENTUM * velocities[name] + slopes[name] + DECAY * theta[name] for name in theta}
    return {name: theta[name] - rate * velocities[name] for name in theta}, velocities


@torch.no_grad()
def _adam(phi: Tensors, moments: tuple[Tensors, Tensors], slopes: Tensors, step: int) -> tuple[Tensors, tuple]:
    (first, second), (b1, b2) = moments, DECAYS
    slopes = {name: slopes[name] + DECAY * phi[name] for name in phi}
    first = {name: b1 * first[name] + (1 - b1) * slopes[name] for name in phi}
    second = {name: b2 * second[name] + (1 - b2) * slopes[name] ** 2 for name in phi}
    moved = {}
    for name in phi:
        deviation = (second[name] / (1 - b2**step)).sqrt() + TINY
        moved[name] = phi[name] - META_RATE * first[name] / (1 - b1**step) / deviation
    return moved, (first, second)


def _matching(theta: Tensors, phi: Tensors, features: list[torch.Tensor], maps: list[torch.Tensor]) -> torch.Tensor:
    """Return the weighted errors of all pairs, each of the source's maps with each of the target's."""
    total = maps[0].new_zeros(())
    for pair in range(len(features) * len(maps)):
        given, x = features[pair // len(maps)], maps[pair % len(maps)]
        kernel, bias = theta[f"branch/{pair}/kernel"], theta[f"branch/{pair}/bias"]
        mapped = functional.conv2d(x, kernel.t()[:, :, None, None], bias)
        squares = (_resized(given, x.shape[2:]) - mapped) ** 2
        pooled = given.mean((2, 3))
        if f"which/{pair}/kernel" in phi:
            grid = torch.einsum("bcp,cpr->bcr", given.flatten(2), phi[f"which/{pair}/kernel"])
            grid = functional.softplus(grid + phi[f"which/{pair}/bias"]).unflatten(2, (3, 3))
            squares = squares * _resized(grid, x.shape[2:])
        errors = squares.mean((2, 3))
        if not phi:
            total = total + errors.mean()
            continue
        what = torch.softmax(pooled @ phi[f"what/{pair}/kernel"] + phi[f"what/{pair}/bias"], 1)
        where = functional.relu6(pooled @ phi[f"where/{pair}/kernel"] + phi[f"where/{pair}/bias"])
        total = total + (where[:, 0] * (what * errors).sum(1)).mean()
    return BETA * total


def _resized(x: torch.Tensor, size: Any) -> torch.Tensor:
    return functional.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _target(theta: Tensors, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return what goes into the poolings of VGG-9, and its logits."""
    maps = []
    for number in range(1, 1 + POOLED[-1]):
        x = functional.conv2d(x, theta[f"conv{number}/kernel"], theta[f"conv{number}/bias"], padding=1)
        gamma, beta = theta[f"bn{number}/gamma"], theta[f"bn{number}/beta"]
        x = torch.relu(functional.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON))
        if number in POOLED:
            maps.append(x)
            x = functional.max_pool2d(x, 2)
    return maps, x.mean((2, 3)) @ theta["fc/kernel"] + theta["fc/bias"]


def _source(weights: Tensors, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the maps of ResNet32 that are matched."""

    def convolved(x: torch.Tensor, name: str, norm: str, stride: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}/kernel"]
        x = functional.conv2d(x, kernel, weights.get(f"{name}/bias"), stride, padding=kernel.shape[-1] // 2)
        mean, variance, gamma, beta = (
            weights[f"{norm}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)

    found = []
    x = torch.relu(convolved(x, "conv1", "bn1"))
    for stage in (1, 2, 3):
        for block in range(1, 6):
            name, stride = f"s{stage}b{block}", 2 if stage > 1 and block == 1 else 1
            shortcut = convolved(x, f"{name}_down_conv", f"{name}_down_bn", stride) if stride > 1 else x
            inner = torch.relu(convolved(x, f"{name}_conv1", f"{name}_bn1", stride))
            x = torch.relu(convolved(inner, f"{name}_conv2", f"{name}_bn2") + shortcut)
            if name in FEATURES:
                found.append(x)
    return found


def tensors(arrays: dict[str, np.ndarray], group: str) -> Tensors:
    """Return the arrays named `<group>:<name>` by name; convolutions in PyTorch's order of axes."""
    named = {name.split(":", 1)[1]: array for name, array in arrays.items() if name.startswith(f"{group}:")}
    return {
        name: torch.tensor(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array) for name, array in named.items()
    }


def begun(arrays: dict[str, np.ndarray]) -> Learned:
    """Return the state before the first iteration."""
    theta, phi = tensors(arrays, "theta"), tensors(arrays, "phi")
    nothing = {name: torch.zeros_like(value) for name, value in phi.items()}
    return Learned(theta, {name: torch.zeros_like(value) for name, value in theta.items()}, phi, (nothing, nothing))


def measure(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the fastest seconds of an iteration, and the losses of the first."""
    torch.set_num_threads(THREADS)
    images = torch.tensor(arrays["images"]).permute(0, 3, 1, 2)  # a view: channels_last
    labels = torch.tensor(arrays["labels"]).long()
    learned, source = begun(arrays), tensors(arrays, "source")
    learned = learned._replace(theta=_channels_last(learned.theta))
    rate = float(arrays["rate"])
    found = iteration(learned, source, images, labels, rate)[1]
    seconds = fastest_seconds(lambda: iteration(learned, source, images, labels, rate), REPEATS, warm=0)
    return {"seconds": seconds, "losses": {name: x for name, x in found.items() if name != "slopes"}}


def _channels_last(theta: Tensors) -> Tensors:
    return {name: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for name, x in theta.items()}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as archive:
        content = {name: archive[name] for name in archive.files}
    print(json.dumps(measure(content)))
