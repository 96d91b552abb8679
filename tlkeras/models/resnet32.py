"""ResNet32 for 32x32 images, the source network of report 003: a table of numbers and one residual block."""

from pathlib import Path

import keras
from keras import layers

from tlkeras.data import fingerprint, home
from tlkeras.models import weights as weight_files
from tlkeras.models.arguments import check_arguments
from tlkeras.models.batch_normalization import BatchNormalization
from tlkeras.models.preprocessing import Preprocessing

HEAD = "fc"
FEATURES = ("s1b5", "s2b5", "s3b5")  # the ends of the three stages, which report 003 transfers from
SMALLEST = 4
SHIPPED = "tinyimagenet"
OFFICIAL = "resnet32_tinyimagenet_official.npz"
OFFICIAL_FINGERPRINT = (
    "cbf46ec38473f680"  # of the tensors in the order of their names; 49.13 % on the 10,000 validation images
)
OFFICIAL_URL = (  # SHA-256 049f81f8bea8504e90818d6c614f15c485ac2d891348330b433110e161f66d68, MIT
    "https://raw.githubusercontent.com/alinlab/L2T-ww/f4dde04e8d5d5725dc3bff2f59cb0d0c26d0bcbe/"
    "logs/tinyimagenet-200-resnet32/0/model_best.pth.tar"
)
EPSILON, MOMENTUM = 1e-5, 0.9  # of batch normalisation, as in PyTorch


def resnet32(
    num_classes: int = 200,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    weights: str | None = None,
    filters: tuple[int, ...] = (16, 32, 64),
    blocks: int = 5,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = None,
) -> keras.Model:
    """Build ResNet32: 479,272 trainable parameters with 200 classes.

    Every block's output, after its last ReLU, is the layer `s<stage>b<block>`.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from 4 up.
        weights: None (random), "tinyimagenet" (trained by this project), or "official" (those of Jang et al. 2019, from
            the cache), both on Tiny ImageNet at 32x32, for preprocessing "torch" and the default filters and blocks.
            The dense layer stays new with other than 200 classes.
        filters: channels of each stage; every stage after the first halves the sides.
        blocks: residual blocks in a stage.
        preprocessing: a mode of `Preprocessing` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: None (logits), or "softmax".

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides below 4, other than 3 channels, or unknown weights or preprocessing.
        WeightFileError: the weights are not there, or of another network.

    Reference: He et al. 2016, arXiv:1512.03385, with projections for shortcuts; the stem has a bias.
    """
    check_arguments(num_classes, input_shape, SMALLEST, weights, (None, SHIPPED, "official"))
    inputs = x = keras.Input(input_shape, name="image")
    if preprocessing:
        x = Preprocessing(preprocessing, name="preprocessing")(x)
    x = _convolution(x, filters[0], 3, "conv1", "bn1", use_bias=True)
    x = layers.ReLU(name="relu1")(x)
    for stage, channels in enumerate(filters, start=1):
        for block in range(1, blocks + 1):
            x = _block(x, channels, f"s{stage}b{block}", strides=2 if stage > 1 and block == 1 else 1)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=HEAD)(x)
    model = keras.Model(inputs, outputs, name="ResNet32")
    if weights == SHIPPED:
        weight_files.load_pretrained(model, f"resnet32_{SHIPPED}", head=HEAD)
    elif weights == "official":
        load_official(model, home() / "weights" / OFFICIAL)
    return model


def load_official(model: keras.Model, path: Path) -> weight_files.Loaded:
    """Load the weights of Jang et al. 2019 strictly; the dense layer stays new if it has other than 200 classes.

    Args:
        model: freshly built, of the default filters and blocks.
        path: an .npz of the tensors, named `src/s1b1/conv1/kernel` and so on, kernels HWIO.

    Raises:
        WeightFileError: no such file, other values than on record, or another network.
    """
    if not path.exists():
        raise weight_files.WeightFileError(f"Expected the tensors of {OFFICIAL_URL} as an .npz. Received: no {path}")
    tensors = {_ours(name): array for name, array in weight_files.read(path).items()}
    if (found := fingerprint(*(tensors[name] for name in sorted(tensors)))) != OFFICIAL_FINGERPRINT:
        raise weight_files.WeightFileError(
            f"Expected tensors of fingerprint {OFFICIAL_FINGERPRINT}. Received: {found} in {path}"
        )
    fits = model.output_shape[-1] == tensors[f"{HEAD}/bias"].size
    return weight_files.assign(model, tensors, new_layers=() if fits else (HEAD,), sha256=found)


def _ours(name: str) -> str:
    """Return `s1b1_conv1/kernel` for `src/s1b1/conv1/kernel`."""
    *layer, variable = name.split("/")[1:]
    return f"{'_'.join(layer)}/{variable}"


def _block(x: keras.KerasTensor, channels: int, name: str, strides: int) -> keras.KerasTensor:
    shortcut = x
    if strides > 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, 1, f"{name}_down_conv", f"{name}_down_bn", strides)
    x = _convolution(x, channels, 3, f"{name}_conv1", f"{name}_bn1", strides)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, channels, 3, f"{name}_conv2", f"{name}_bn2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=name)(x)


def _convolution(
    x: keras.KerasTensor, channels: int, size: int, name: str, norm: str, strides: int = 1, use_bias: bool = False
) -> keras.KerasTensor:
    """Convolve and normalise; one zero on every side, where "same" would put none on the left with a stride of 2."""
    if size > 1:
        x = layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
    initial = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    # PyTorch's own. Normalised away, it stays near where it started, and loading refuses a tensor that is still zero.
    limit = (size * size * x.shape[-1]) ** -0.5
    bias = keras.initializers.RandomUniform(-limit, limit)
    x = layers.Conv2D(
        channels, size, strides=strides, use_bias=use_bias, kernel_initializer=initial, bias_initializer=bias, name=name
    )(x)  # fmt: skip
    return BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=norm)(x)
