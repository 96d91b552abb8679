"""The weights that the numbers in `l2t.npz` belong to, made from their names: nothing has to be stored.

Entry i of an array is 24 bits of splitmix64 started at crc32(name) * 2**32, mapped to [-1, 1), scaled, shifted and
rounded once to float32. Kernels are HWIO, dense ones (inputs, outputs); those of "which" (channels, pixels, 9).
"""

import zlib

import numpy as np

SOURCE = {4: (16, 32), 9: (32, 16), 14: (64, 8)}  # block of ResNet32 -> channels, side
TARGET = (64, 128, 256, 512, 512)  # channels that enter each pooling of VGG-9
PAIRS = [(m, n) for m in SOURCE for n in range(len(TARGET))]
VGG9 = (3, 64, 128, 256, 256, 512, 512, 512, 512)
WHERE = (
    1.0,
    1.5,
    0.8,
    1.0,
    2.0,
    1.0,
    -9.0,
    1.0,
    1.2,
    1.0,
    1.0,
    0.9,
    9.0,
    1.0,
    1.6,
)  # ReLU6 is 0 in pair 6, 6 in pair 12
ONE = float(np.log(np.e - 1))  # softplus is 1 here
Arrays = dict[str, np.ndarray]


def array(name: str, shape: tuple[int, ...], scale: float, shift: float = 0.0) -> np.ndarray:
    """Return the float32 array of a name: uniform in shift - scale .. shift + scale."""
    count = int(np.prod(shape))
    mixed = np.uint64(zlib.crc32(name.encode()) << 32) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    for shift_by, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift_by))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    unit = (mixed >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0
    return (unit * scale + shift).astype(np.float32).reshape(shape)


def _convolution(name: str, size: int, inputs: int, outputs: int) -> Arrays:
    deviation = float(np.sqrt(6.0 / (size * size * outputs)))
    return {f"{name}/kernel": array(f"{name}/kernel", (size, size, inputs, outputs), deviation)}


def _norm(name: str, channels: int, gamma: float = 1.0) -> Arrays:
    ranges = {
        "gamma": (0.2 * gamma, gamma),
        "beta": (0.1, 0.0),
        "moving_mean": (0.1, 0.0),
        "moving_variance": (0.3, 1.0),
    }
    return {f"{name}/{key}": array(f"{name}/{key}", (channels,), *values) for key, values in ranges.items()}


def _dense(name: str, shape: tuple[int, int], scale: float) -> Arrays:
    return {
        f"{name}/kernel": array(f"{name}/kernel", shape, scale),
        f"{name}/bias": array(f"{name}/bias", shape[1:], 0.05),
    }


def source() -> Arrays:
    """Return the weights of ResNet32."""
    found = _convolution("src/conv1", 3, 3, 16) | {"src/conv1/bias": array("src/conv1/bias", (16,), 0.05)}
    found |= _norm("src/bn1", 16)
    inputs = 16
    for stage, (channels, _) in enumerate(SOURCE.values(), 1):
        for block in range(1, 6):
            name = f"src/s{stage}b{block}"
            found |= _convolution(f"{name}/conv1", 3, inputs, channels) | _norm(f"{name}/bn1", channels)
            found |= _convolution(f"{name}/conv2", 3, channels, channels) | _norm(f"{name}/bn2", channels, 0.5)
            if inputs != channels:
                found |= _convolution(f"{name}/down_conv", 1, inputs, channels) | _norm(f"{name}/down_bn", channels)
            inputs = channels
    return found | _dense("src/fc", (64, 200), 0.1)


def target() -> Arrays:
    """Return the weights of VGG-9; its moving statistics are those of a new network."""
    found = {}
    for number, (inputs, outputs) in enumerate(zip(VGG9[:-1], VGG9[1:], strict=True), 1):
        found |= _convolution(f"tgt/conv{number}", 3, inputs, outputs)
        found[f"tgt/conv{number}/bias"] = array(f"tgt/conv{number}/bias", (outputs,), 0.05)
        found |= _norm(f"tgt/bn{number}", outputs)
        found[f"tgt/bn{number}/moving_mean"] = np.zeros(outputs, np.float32)
        found[f"tgt/bn{number}/moving_variance"] = np.ones(outputs, np.float32)
    return found | _dense("tgt/fc", (512, 10), 0.05)


def branch() -> Arrays:
    """Return kernel and bias of each pair's 1x1 convolution."""
    found = {}
    for pair, (m, n) in enumerate(PAIRS):
        scale = float(1.0 / np.sqrt(TARGET[n]))
        for part, shape in (("kernel", (1, 1, TARGET[n], SOURCE[m][0])), ("bias", (SOURCE[m][0],))):
            found[f"branch/{pair}/{part}"] = array(f"branch/{pair}/{part}", shape, scale)
    return found


def what(init: bool = False) -> Arrays:
    """Return the parameters of "what"; with `init` zeros, as the official code starts."""
    found = {}
    for pair, (m, _) in enumerate(PAIRS):
        channels = SOURCE[m][0]
        kernel, bias = (0.0, 0.0) if init else (float(1.5 / np.sqrt(channels)), 0.3)
        found[f"what/{pair}/kernel"] = array(f"what/{pair}/kernel", (channels, channels), kernel)
        found[f"what/{pair}/bias"] = array(f"what/{pair}/bias", (channels,), bias)
    return found


def where(init: bool = False) -> Arrays:
    """Return the parameters of "where"; with `init` every bias is 1."""
    found = {}
    for pair, (m, _) in enumerate(PAIRS):
        channels = SOURCE[m][0]
        found[f"where/{pair}/kernel"] = array(f"where/{pair}/kernel", (channels, 1), float(1.0 / np.sqrt(channels)))
        found[f"where/{pair}/bias"] = np.full((1,), 1.0 if init else WHERE[pair], np.float32)
    return found


def which(init: bool = False) -> Arrays:
    """Return the parameters of "which"; with `init` gamma is 1 everywhere."""
    found = {}
    for pair, (m, _) in enumerate(PAIRS):
        channels, pixels = SOURCE[m][0], SOURCE[m][1] ** 2
        kernel, bias = (0.0, 0.0) if init else (float(1.0 / np.sqrt(pixels)), 0.5)
        found[f"which/{pair}/kernel"] = array(f"which/{pair}/kernel", (channels, pixels, 9), kernel)
        found[f"which/{pair}/bias"] = array(f"which/{pair}/bias", (channels, 9), bias, ONE)
    return found
