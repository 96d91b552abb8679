"""How a picture is written down while it is changed: as pixels, or as a spectrum with decorrelated colour."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from tlkeras import backend
from tlkeras.backend import Tensor

# Square root of the covariance of colours in ImageNet: Olah, Mordvintsev and Schubert 2017, Feature Visualization.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)
_COLOURS /= np.linalg.norm(_COLOURS, axis=0).max()


@dataclass(frozen=True)
class Pixels:
    """A picture is its pixels, clipped to the value range after each step.

    Args:
        contrast: standard deviation of the noise that it starts from, around mid-grey, as a part of the value range.
            Pale noise leaves most positions of a sparse filter below its ReLU, where nothing can climb.
        step_size: of a pixel and step, as a part of the value range.
    """

    contrast: float = 0.3
    step_size: float = 0.05

    def start(self, seed: int, identities: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Return noise `(n, *shape)` float32 around 0, each picture's own for its seed and identity `(n,)`."""
        return self.project(self.contrast * _noise(seed, identities, shape))

    def picture(self, parameters: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Return the pictures `(n, *shape)`; 0..1 is the value range."""
        return parameters + 0.5

    def project(self, parameters: Tensor) -> Tensor:
        """Return the parameters after a step, clipped to the value range."""
        return ops.clip(parameters, -0.5, 0.5)


@dataclass(frozen=True)
class Fourier:
    """A picture is a spectrum whose frequencies weigh as in natural images (1/f), with decorrelated colours.

    It is clipped to the value range, not squashed by the reference's sigmoid, whose slope dies: pixels that the low
    frequencies drive to the wrong end would never find back.

    Args:
        contrast: standard deviation of the spectrum that it starts from.
        step_size: of a coefficient and step.

    Reference: Olah, Mordvintsev and Schubert 2017, Feature Visualization, doi:10.23915/distill.00007.
    """

    contrast: float = 0.5
    step_size: float = 0.05

    def start(self, seed: int, identities: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Return spectra `(n, 2, channels, height, width // 2 + 1)` float32, real and imaginary parts."""
        height, width, channels = shape
        return self.contrast * _noise(seed, identities, (2, channels, height, width // 2 + 1))

    def picture(self, parameters: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Return the pictures `(n, *shape)`, inside the value range 0..1."""
        height, width, channels = shape
        frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        weights = 1 / np.maximum(frequencies, 1 / max(height, width))
        weights *= height * width / (2 * np.sqrt((weights**2).sum()))  # a unit spectrum gives pixels of deviation 1
        planes = backend.irfft2(parameters[:, 0], parameters[:, 1], weights.astype(np.complex64), (height, width))
        planes = ops.transpose(planes, (0, 2, 3, 1))
        if channels == 3:
            planes = ops.matmul(planes, ops.convert_to_tensor(_COLOURS.T))
        return _clipped(planes + 0.5)

    def project(self, parameters: Tensor) -> Tensor:
        """Return the parameters as they are: every spectrum is allowed."""
        return parameters


@backend.custom_gradient
def _clipped(planes: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Clip to 0..1; a pixel outside still feels what pulls it back, and nothing that pushes it further out."""

    def gradient(slope: Tensor) -> Tensor:
        outward = ((planes > 1) & (slope > 0)) | ((planes < 0) & (slope < 0))
        return ops.where(outward, ops.zeros_like(slope), slope)

    return ops.clip(planes, 0.0, 1.0), gradient


def _noise(seed: int, identities: Tensor, shape: tuple[int, ...]) -> Tensor:
    seeds = ops.stack([ops.full_like(identities, seed), identities], 1)
    return backend.each(seeds, lambda seed: backend.normal(shape, seed))
