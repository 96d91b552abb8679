"""Silent traps of transfer learning with Keras, each shown in plain Keras on real digits: `make traps`.

A trap is a function that returns the test accuracy done right and in the trap; beside it stands a function that fails
unless tlkeras names the error, or has the right value, in that situation.
"""

import argparse
import datetime
import functools
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import tlkeras
from tlkeras._files import write_json
from tlkeras.data import images as image_files
from tlkeras.data.splits import few_shot
from tlkeras.models import weights
from tlkeras.own_images import folder
from tlkeras.transfer.batches import training_batches
from tlkeras.transfer.callbacks import check_monitor, direction
from tlkeras.transfer.evaluation import recalibrate
from tlkeras.transfer.finetune import finetune
from tlkeras.transfer.freezing import FreezingError, compile_classifier, prove_moves, snapshot
from tlkeras.transfer.phases import LayerwiseAdam, Phase, moves_when_scaled, optimizer_for
from tools import reliability, traps

Pair = tuple[float, float]  # accuracy done right, and in the trap
HEAD_EPOCHS = 15
CLASSES = 10
LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True, eq=False)
class World:
    """Digits uint8 `(n, 28, 28, 1)` with labels int32 `(n,)`, a few to train on, others to test on; and a seed."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    seed: int


@dataclass(frozen=True)
class Trap:
    """What one does, what tlkeras does there, and the two functions that show both."""

    group: str
    says: str
    tlkeras: str
    shown: Callable[[World], Pair]
    caught: Callable[[World], None]


TRAPS: dict[str, Trap] = {}


def trap(group: str, says: str, ours: str, caught: Callable[[World], None]) -> Callable:
    """Put what follows into `TRAPS`, under its own name."""

    def register(shown: Callable[[World], Pair]) -> Callable[[World], Pair]:
        TRAPS[shown.__name__] = Trap(group, says, ours, shown, caught)
        return shown

    return register


@contextmanager
def refused(kind: type[Exception], words: str) -> Iterator[None]:
    """Fail unless an error of this kind is raised that has these words."""
    try:
        yield
    except kind as error:
        assert words in str(error), str(error)
    else:
        raise AssertionError(f"Expected {kind.__name__}: {words}. Received: no error")


# Networks and scores.


@functools.cache
def world(count: int, tests: int, seed: int) -> World:
    """Return `count` digits, as many of each, and `tests` others."""
    digits = tlkeras.load("mnist", embedded=True)
    keras.utils.set_random_seed(seed)
    draw = few_shot(digits.y_train, count, seed=seed, balanced=True)
    others = digits.x_test[:tests], digits.y_test[:tests]
    return World(digits.x_train[draw], digits.y_train[draw], *others, seed)


def network(**options: Any) -> keras.Model:
    """Return TomiNet as it was trained on letters, with a new head for digits."""
    return tlkeras.tominet(CLASSES, **{"weights": "letters", **options})


def compiled(model: keras.Model, rate: float = 1e-3, loss: Any = LOSS, **options: Any) -> keras.Model:
    """Compile for integer labels, without XLA, which takes longer to compile than to train."""
    chosen = {"optimizer": keras.optimizers.Adam(rate), "metrics": ["accuracy"], **options}
    model.compile(loss=loss, jit_compile=False, **chosen)
    return model


def fit(model: keras.Model, data: World, epochs: int = 8) -> keras.Model:
    """Train on the digits."""
    model.fit(data.images, data.labels, epochs=epochs, verbose=0)
    return model


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the class of each image, `(n,)`."""
    return keras.ops.convert_to_numpy(model(images, training=False)).argmax(-1)


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of right answers."""
    return float(np.mean(answers(model, images) == labels))


def tested(model: keras.Model, data: World) -> float:
    """Return the accuracy on the test digits."""
    return accuracy(model, data.test_images, data.test_labels)


@functools.cache
def tuned(data: World) -> keras.Model:
    """Return a network fine-tuned on the digits, with its batch normalisation set right; nobody trains it further."""
    keras.utils.set_random_seed(data.seed)
    model = fit(compiled(network(), 3e-3), data, epochs=15)
    recalibrate(model, data.images)
    return model


def below_head(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return what computes the features `(n, 784)` that a network gives to its head."""
    base = keras.Model(model.input, model.layers[-2].output)
    return lambda images: keras.ops.convert_to_numpy(base(images, training=False))


@functools.cache
def features(data: World) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of the training and of the test digits in the network of letters."""
    base = below_head(network())
    return base(data.images), base(data.test_images)


@functools.cache
def _head(size: int, rate: float) -> tuple[keras.Model, list[np.ndarray], list[np.ndarray]]:
    inputs = keras.Input((size,))
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(inputs)
    model = compiled(keras.Model(inputs, outputs), rate)
    model.optimizer.build(model.trainable_variables)
    return model, model.get_weights(), [variable.numpy() for variable in model.optimizer.variables]


def head(size: int = 784, rate: float = 1e-2) -> keras.Model:
    """Return a new softmax on features; it is the same object every time, so that TensorFlow traces it once."""
    model, start, state = _head(size, rate)
    model.set_weights(start)
    for variable, value in zip(model.optimizer.variables, state, strict=True):
        variable.assign(value)
    model.stop_training = False
    return model


def probed(train: np.ndarray, test: np.ndarray, data: World, labels: np.ndarray | None = None) -> float:
    """Return the accuracy of a new head on these features."""
    keras.utils.set_random_seed(data.seed)
    model = head(train.shape[1])
    model.fit(train, data.labels if labels is None else labels, epochs=HEAD_EPOCHS, verbose=0)
    return accuracy(model, test, data.test_labels)


@functools.cache
def well_probed(data: World) -> float:
    """Return the accuracy of a head on the network of letters."""
    return probed(*features(data), data)


def small(seed: int = 0) -> keras.Model:
    """Return a TomiNet of two filters, which is traced and trained in no time."""
    keras.utils.set_random_seed(seed)
    return tlkeras.tominet(CLASSES, filters=(2,))


def few(data: World) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of digits."""
    return data.images[:32], data.labels[:32]


# Freezing.


def catch_freezing(data: World) -> None:
    """`freeze` compiles; and where one does not, `prove_moves` says which layers moved."""
    model = small()
    model.compile(keras.optimizers.Adam(1e-2), LOSS, jit_compile=False)
    model.train_on_batch(*few(data))
    for layer in model.layers[:-1]:
        layer.trainable = False
    before = snapshot(model)
    model.train_on_batch(*few(data))
    with refused(FreezingError, "frozen but moved ['conv_1'"):
        prove_moves(before, model, "head")
    tlkeras.freeze(model, "head")
    before = snapshot(model)
    model.train_on_batch(*few(data))
    assert prove_moves(before, model, "head")["conv_1"] == 0


@trap(
    "freezing",
    "layers are frozen after a `fit`, without `compile`: they train on",
    "`freeze` and `finetune` compile; `prove_moves` raises `FreezingError`",
    catch_freezing,
)
def freeze_without_compile(data: World) -> Pair:
    """Freeze a network that has trained one batch; its head is new, and learns at a high rate."""

    keras.utils.set_random_seed(data.seed)
    model = network()
    start = model.get_weights()
    compiled(model, 0.1).fit(*few(data), verbose=0)
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.set_weights(start)
    trapped = tested(fit(model, data), data)
    model.set_weights(start)
    return tested(fit(compiled(model, 0.1), data), data), trapped


def catch_unfreezing(data: World) -> None:
    """`freeze` compiles; and where one does not, `prove_moves` says which layers are stuck."""
    model = small()
    tlkeras.freeze(model, "head")
    model.train_on_batch(*few(data))
    model.trainable = True
    before = snapshot(model)
    model.train_on_batch(*few(data))
    with refused(FreezingError, "stuck ['conv_1'"):
        prove_moves(before, model, "all")
    tlkeras.freeze(model, "all")
    model.train_on_batch(*few(data))
    assert prove_moves(before, model, "all")["conv_1"] > 0


@trap(
    "freezing",
    "layers are unfrozen after a `fit`, without `compile`: they stay frozen",
    "`freeze` and `finetune` compile; `prove_moves` raises `FreezingError`",
    catch_unfreezing,
)
def unfreeze_without_compile(data: World) -> Pair:
    """Train the head on a network of clothes, which needs more than that for digits, then everything."""

    keras.utils.set_random_seed(data.seed)
    model = network(weights="fashion_mnist")
    for layer in model.layers[:-1]:
        layer.trainable = False
    fit(compiled(model, 3e-3), data, epochs=2)
    head_trained = model.get_weights()
    for layer in model.layers:
        layer.trainable = True
    trapped = tested(fit(model, data, epochs=25), data)
    model.set_weights(head_trained)
    return tested(fit(compiled(model, 3e-3), data, epochs=25), data), trapped


def catch_training_mode(data: World) -> None:
    """`evaluate` gives each image the same answer, whatever stands beside it."""
    model = tuned(data)
    order = np.argsort(data.test_labels)
    _, sorted_score = tlkeras.evaluate(model, data.test_images[order], data.test_labels[order])
    assert sorted_score == tlkeras.evaluate(model, data.test_images, data.test_labels)[1]


@trap(
    "freezing",
    "a frozen base with batch normalisation is called with `training=True`",
    "calls what is frozen in inference mode",
    catch_training_mode,
)
def frozen_base_in_training_mode(data: World) -> Pair:
    """Answer in both modes, a class at a time; in Keras 3, a frozen BatchNormalization stays in inference."""
    model = network()
    model.set_weights(tuned(data).get_weights())
    model.trainable = False
    return by_class(model, data, training=False), by_class(model, data, training=True)


@trap(
    "freezing",
    "a network with batch normalisation that is not frozen answers with `training=True`",
    "`evaluate`, `finetune` and `predict` answer in inference mode",
    catch_training_mode,
)
def answers_in_training_mode(data: World) -> Pair:
    """Answer in both modes, a class at a time, as when the images of a folder are asked about."""
    return by_class(tuned(data), data, training=False), by_class(tuned(data), data, training=True)


def by_class(model: keras.Model, data: World, training: bool) -> float:
    """Return the accuracy where each call has the images of one class; the moving statistics stay as they are."""
    kept, right = model.get_weights(), 0
    for label in range(CLASSES):
        outputs = model(data.test_images[data.test_labels == label], training=training)
        right += int((keras.ops.convert_to_numpy(outputs).argmax(-1) == label).sum())
    model.set_weights(kept)
    return right / len(data.test_labels)


def catch_lag(data: World) -> None:
    """`recalibrate` gives the statistics of the images at once."""
    model = small()
    assert recalibrate(model, data.images) == 1
    assert not np.allclose(model.get_layer("batch_norm_1").get_weights()[2], 0)


@trap(
    "freezing",
    "few steps on few images: the moving statistics of batch normalisation are still those of a new layer",
    "`recalibrate` sets them right after training",
    catch_lag,
)
def statistics_lag(data: World) -> Pair:
    """Train from scratch for a few epochs; done right is the same network after `recalibrate`."""
    keras.utils.set_random_seed(data.seed)
    model = fit(compiled(network(weights=None)), data, epochs=8)
    lagging = tested(model, data)
    recalibrate(model, data.images)
    return tested(model, data), lagging


# Optimizers and rates.


def catch_old_schedule(data: World) -> None:
    """Each phase has an optimizer of its own."""
    phase = Phase("head", "head", 1, 1e-2, "cosine")
    assert optimizer_for(phase, 7) is not optimizer_for(phase, 7)
    assert float(optimizer_for(phase, 7).learning_rate) == np.float32(1e-2)


@trap(
    "rates",
    "an optimizer with a schedule is used for a second phase: its rate has ended at zero",
    "every `Phase` gets a fresh optimizer and schedule",
    catch_old_schedule,
)
def schedule_at_its_end(data: World) -> Pair:
    """Train a head on the digits 0 to 4, then on all ten."""
    train, test = features(data)
    first, steps = data.labels < 5, HEAD_EPOCHS * -(-len(train) // 32)

    def second_phase(optimizer: keras.optimizers.Optimizer) -> float:
        compiled(model, optimizer=optimizer).fit(train, data.labels, epochs=HEAD_EPOCHS, verbose=0)
        return accuracy(model, test, data.test_labels)

    keras.utils.set_random_seed(data.seed)
    inputs = keras.Input((train.shape[1],))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(inputs))
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    old = keras.optimizers.Adam(schedule)
    compiled(model, optimizer=old).fit(train[first], data.labels[first], epochs=2 * HEAD_EPOCHS, verbose=0)
    after_first = model.get_weights()
    trapped = second_phase(old)
    model.set_weights(after_first)
    return second_phase(keras.optimizers.Adam(schedule)), trapped


def catch_old_name(data: World) -> None:
    """A phase knows no other name of the rate, and needs one."""
    with refused(TypeError, "unexpected keyword argument 'lr'"):
        Phase("all", "all", 1, lr=1e-5)  # type: ignore[call-arg]


@trap(
    "rates",
    "`optimizer.lr = 0.003`, the name of Keras 2, sets an attribute that nobody reads",
    "the rate is an argument of `Phase`; another name is a `TypeError`",
    catch_old_name,
)
def old_name_of_the_rate(data: World) -> Pair:
    """Fine-tune everything at a rate that was meant to be lowered."""

    def lowered(name: str) -> float:
        keras.utils.set_random_seed(data.seed)
        model = compiled(network(), 0.1)
        setattr(model.optimizer, name, 3e-3)
        return tested(fit(model, data), data)

    return lowered("learning_rate"), lowered("lr")


class GradientsScaled(keras.optimizers.Adam):
    """Adam that gets a hundredth of each gradient below the head; kernel and bias of the head come last."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Scale, and step."""
        return super().apply([*(0.01 * grad for grad in grads[:-2]), *grads[-2:]], trainable_variables)


def catch_scaled_gradients(data: World) -> None:
    """`LayerwiseAdam` scales the rate: a tenth of it moves a layer by a tenth."""
    moved = moves_when_scaled(small(), *few(data), "conv_1", steps=2)
    assert moved["rate scaled"] < 0.2 * moved["as it is"] < 2 * 0.2 * moved["gradients scaled"]


@trap(
    "rates",
    "a smaller rate for the first layers by scaling their gradients, under Adam, which divides by their size",
    "`Phase(multipliers=...)` scales the rate of each layer",
    catch_scaled_gradients,
)
def gradients_scaled_under_adam(data: World) -> Pair:
    """Train the head at a high rate, and the rest at a hundredth of it."""

    def careful(optimizer: keras.optimizers.Optimizer) -> float:
        keras.utils.set_random_seed(data.seed)
        return tested(fit(compiled(network(), optimizer=optimizer), data), data)

    below = [layer.name for layer in network().layers[:-1] if layer.weights]
    right = LayerwiseAdam(0.1, dict.fromkeys(below, 0.01))
    return careful(right), careful(GradientsScaled(0.1))


# Images.


def unscaled(data: World) -> keras.Model:
    """Return the fine-tuned network without its own preprocessing: it wants 0..1."""
    model = network(weights=None, preprocessing=None)
    model.set_weights(tuned(data).get_weights())
    return model


def catch_never_scaled(data: World) -> None:
    """A network of tlkeras has its preprocessing inside."""
    right = accuracy(unscaled(data), data.test_images / np.float32(255), data.test_labels)
    assert np.isclose(tlkeras.evaluate(tuned(data), data.test_images, data.test_labels)[1], right)


@trap(
    "images",
    "0..255 for a network that wants 0..1",
    "preprocessing is a layer of the network",
    catch_never_scaled,
)
def never_scaled(data: World) -> Pair:
    """Ask a network with and without scaling."""
    model = unscaled(data)
    scaled = accuracy(model, data.test_images / np.float32(255), data.test_labels)
    return scaled, tested(model, data)


def catch_scaled_twice(data: World) -> None:
    """Images that look scaled are refused."""
    with refused(ValueError, "which look scaled to 0..1"):
        tlkeras.evaluate(tuned(data), data.test_images / 255, data.test_labels)


@trap(
    "images",
    "scaled twice: 0..1 for a network that scales 0..255 itself",
    "`ValueError`: the images look scaled already",
    catch_scaled_twice,
)
def scaled_twice(data: World) -> Pair:
    """Ask a network with its own scaling."""
    return tested(tuned(data), data), accuracy(tuned(data), data.test_images / np.float32(255), data.test_labels)


def catch_other_range(data: World) -> None:
    """Values below 0 are refused."""
    with refused(ValueError, "Expected images with values in 0..255"):
        tlkeras.evaluate(tuned(data), data.test_images / np.float32(127.5) - 1, data.test_labels)


@trap(
    "images",
    "the preprocessing of another network: -1..1 for one that wants 0..1",
    "`ValueError` for values outside 0..255, which its networks take",
    catch_other_range,
)
def other_range(data: World) -> Pair:
    """Ask a network that wants 0..1."""
    other = accuracy(unscaled(data), data.test_images / np.float32(127.5) - 1, data.test_labels)
    return tested(tuned(data), data), other


def catch_in_place(data: World) -> None:
    """No function of tlkeras changes its argument, and what another has overwritten is refused."""
    images = data.test_images.astype("float32")
    tlkeras.evaluate(tuned(data), images, data.test_labels)
    assert np.array_equal(images, data.test_images)
    keras.applications.mobilenet.preprocess_input(images)
    with refused(ValueError, "Expected images with values in 0..255"):
        tlkeras.evaluate(tuned(data), images, data.test_labels)


@trap(
    "images",
    "`preprocess_input` of `keras.applications` overwrites the float images that it is given; who is next gets those",
    "changes no argument; `ValueError` for images that were overwritten",
    catch_in_place,
)
def overwritten_images(data: World) -> Pair:
    """Prepare images for MobileNet, then ask another network about the same array."""
    images = data.test_images.astype("float32")
    right = accuracy(tuned(data), images, data.test_labels)
    keras.applications.mobilenet.preprocess_input(images)
    return right, accuracy(tuned(data), images, data.test_labels)


def catch_colours(data: World) -> None:
    """Files are read as red, green, blue."""
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(content, "PNG")
    assert image_files.decode_image(content.getvalue())[0, 0].tolist() == [255, 0, 0]


@functools.cache
def patches(tests: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return colour patches of ten pictures with their labels, to train on and to test on."""
    data = tlkeras.load("cifar10", embedded=True)
    train = few_shot(data.y_train, 2 * tests, seed=0, balanced=True)
    test = few_shot(data.y_test, tests, seed=0, balanced=True)
    return data.x_train[train], data.y_train[train], data.x_test[test], data.y_test[test]


@trap(
    "images",
    "blue, green, red, as OpenCV reads them, where training had red first",
    "reads image files itself, red first; cannot tell in an array",
    catch_colours,
)
def blue_first(data: World) -> Pair:
    """Probe SqueezeNet on patches of pictures, and test on both orders."""
    images, labels, test_images, test_labels = patches(100)
    squeezenet = tlkeras.squeezenet(CLASSES, (32, 32, 3), weights="tinyimagenet32")
    base = keras.Model(squeezenet.input, keras.layers.GlobalAveragePooling2D()(squeezenet.get_layer("conv10").input))
    keras.utils.set_random_seed(data.seed)
    model = head(base.output_shape[-1])
    model.fit(base(images, training=False), labels, epochs=HEAD_EPOCHS, verbose=0)
    right, swapped = (base(part, training=False) for part in (test_images, test_images[..., ::-1].copy()))
    return accuracy(model, right, test_labels), accuracy(model, swapped, test_labels)


def catch_wrapping(data: World) -> None:
    """A network of tlkeras takes the bytes of a file and floats alike."""
    model, floats = tuned(data), data.test_images.astype("float32")
    assert np.array_equal(answers(model, data.test_images), answers(model, floats))


@trap(
    "images",
    "the mean image is taken off in uint8, where 3 - 5 is 254",
    "networks take uint8 as it is, and make it float before they compute",
    catch_wrapping,
)
def wrapping_bytes(data: World) -> Pair:
    """Take off the mean image, as floats and as bytes, and probe."""
    base, mean = below_head(network(preprocessing=None)), data.images.mean(0)

    def centred(kind: str) -> float:
        parts = (images.astype(kind) - mean.astype(kind) for images in (data.images, data.test_images))
        train, test = (base(part.astype("float32") / 255) for part in parts)
        return probed(train, test, data)

    return centred("float32"), centred("uint8")


# Weights.


def catch_names(data: World) -> None:
    """Tensors of other names are refused."""
    with refused(weights.WeightFileError, "Expected exactly the model's tensors"):
        weights.assign(small(), {"conv2d/kernel": np.ones((3, 3, 1, 2), np.float32)})


@trap(
    "weights",
    "`load_weights(by_name=True)` after layers were renamed loads nothing",
    "every tensor must arrive, and is compared: `WeightFileError`",
    catch_names,
)
def loaded_by_name(data: World) -> Pair:
    """Load a file of the network of letters into one whose layers have other names, and probe."""
    keras.utils.set_random_seed(data.seed)
    renamed = keras.models.clone_model(network(weights=None), clone_function=_renamed)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "letters.h5"
        network().save(path)
        renamed.load_weights(path, by_name=True)
    base = below_head(renamed)
    return well_probed(data), probed(base(data.images), base(data.test_images), data)


def _renamed(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config({**layer.get_config(), "name": f"my_{layer.name}"})


def catch_shapes(data: World) -> None:
    """Tensors of another shape are refused, and nothing is loaded."""
    model = tlkeras.tominet(CLASSES, filters=(32, 24))
    before = model.get_weights()
    with refused(weights.WeightFileError, "Expected conv_2/kernel of shape (3, 3, 32, 24)"):
        weights.load_pretrained(model, "tominet_letters", head="dense", new_head=True)
    assert all(map(np.array_equal, model.get_weights(), before))


@trap(
    "weights",
    "`load_weights(skip_mismatch=True)` leaves out the layers of another shape",
    "`WeightFileError`, and the network stays as it was",
    catch_shapes,
)
def skipped_mismatch(data: World) -> Pair:
    """Load a file of the network of letters into one of another width, and probe."""
    keras.utils.set_random_seed(data.seed)
    other = network(weights=None, filters=(24, 16))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "letters.weights.h5"
        network().save_weights(path)
        other.load_weights(path, skip_mismatch=True)
    base = below_head(other)
    return well_probed(data), probed(base(data.images), base(data.test_images), data)


def catch_clone(data: World) -> None:
    """`portable` copies the weights, too."""
    model = small()
    copied = tlkeras.models.portable(model)
    assert all(map(np.array_equal, model.get_weights(), copied.get_weights()))


@trap(
    "weights",
    "`clone_model` copies the layers, not their weights",
    "`models.portable` copies both",
    catch_clone,
)
def cloned(data: World) -> Pair:
    """Probe the network of letters, and its clone."""
    keras.utils.set_random_seed(data.seed)
    base = below_head(keras.models.clone_model(network()))
    return well_probed(data), probed(base(data.images), base(data.test_images), data)


# Checkpoints.


def best_of(data: World, monitor: str, mode: str, *, epochs: int = 10, rate: float = 1.0) -> float:
    """Train a head at a rate that makes its curve jump, reload what a checkpoint has kept, and test it."""
    train, test = features(data)
    keras.utils.set_random_seed(data.seed)
    model, held = head(rate=rate), len(test) // 2
    with tempfile.TemporaryDirectory() as place:
        path = f"{place}/best.weights.h5"
        best = keras.callbacks.ModelCheckpoint(path, monitor, mode=mode, save_best_only=True, save_weights_only=True)
        model.fit(*(train, data.labels, 32, epochs, 0, [best]), validation_data=(test[:held], data.test_labels[:held]))
        model.load_weights(path)
    return accuracy(model, test[held:], data.test_labels[held:])


def catch_reuse(data: World) -> None:
    """A checkpoint serves one phase."""
    with tempfile.TemporaryDirectory() as place:
        best = tlkeras.BestCheckpoint(f"{place}/best.weights.h5")
        best.on_train_begin()
        with refused(ValueError, "Expected a new BestCheckpoint for each phase"):
            best.on_train_begin()


@trap(
    "checkpoints",
    "one `ModelCheckpoint` for two phases: the best of the first, an easier task, is never reached again",
    "`finetune` makes one for each phase; `BestCheckpoint` refuses a second `fit`: `ValueError`",
    catch_reuse,
)
def reused_checkpoint(data: World) -> Pair:
    """Train a head to tell the digits 0 and 1, then all ten, and reload the best epoch."""
    train, test = features(data)
    easy, held = data.labels < 2, len(test) // 2
    easy_held = data.test_labels[:held] < 2

    def best_of_second(reused: bool, place: str) -> float:
        keras.utils.set_random_seed(data.seed)
        path = f"{place}/best_{reused}.weights.h5"
        model, best = head(), _checkpoint(path)
        first = test[:held][easy_held], data.test_labels[:held][easy_held]
        model.fit(train[easy], data.labels[easy], epochs=4, verbose=0, callbacks=[best], validation_data=first)
        again = best if reused else _checkpoint(path)
        second = test[:held], data.test_labels[:held]
        model.fit(train, data.labels, epochs=8, verbose=0, callbacks=[again], validation_data=second)
        model.load_weights(path)
        return accuracy(model, test[held:], data.test_labels[held:])

    with tempfile.TemporaryDirectory() as place:
        return best_of_second(False, place), best_of_second(True, place)


def _checkpoint(path: str) -> keras.callbacks.ModelCheckpoint:
    return keras.callbacks.ModelCheckpoint(path, "val_accuracy", save_best_only=True, save_weights_only=True)


def catch_mode(data: World) -> None:
    """`mode="auto"`, the default, knows which way is better, or says that it does not."""
    assert direction("val_accuracy") == "max" and direction("val_f1_score") == "max"
    with refused(ValueError, "the name does not tell which way is better"):
        direction("val_my_f1")


@trap(
    "checkpoints",
    '`mode="min"`, left over from the loss, for an accuracy: the worst epoch is kept',
    'by default (`mode="auto"`) right, or a `ValueError` where the name does not tell; an explicit wrong one is taken',
    catch_mode,
)
def wrong_way_round(data: World) -> Pair:
    """Keep the best epoch, and the worst."""
    return best_of(data, "val_accuracy", "max"), best_of(data, "val_accuracy", "min")


def catch_monitor(data: World) -> None:
    """A name that is not logged is refused before training."""
    model = small()
    compile_classifier(model, keras.optimizers.Adam())
    with refused(ValueError, "Received: monitor='val_acc'"):
        check_monitor(model, "val_acc", validation=True)


@trap(
    "checkpoints",
    '`monitor="val_acc"`, which nobody logs: every epoch is saved, so the last one is kept',
    "`ValueError` before training",
    catch_monitor,
)
def wrong_monitor(data: World) -> Pair:
    """Keep the best epoch, and the last."""
    return best_of(data, "val_accuracy", "max"), best_of(data, "val_acc", "max")


# Labels and sets.


def names_of(labels: np.ndarray) -> np.ndarray:
    """Return the names of digits, as folders have them."""
    return np.char.add("digit_", labels.astype(str))


def catch_shifted(data: World) -> None:
    """Names of classes are compared."""
    kept = data.test_labels != 4
    images, names = data.test_images[kept], names_of(data.test_labels[kept])
    with refused(ValueError, "Expected the names of all 10 classes"):
        tlkeras.evaluate(tuned(data), images, names)
    known = [f"digit_{label}" for label in range(CLASSES)]
    right = tlkeras.evaluate(tuned(data), images, data.test_labels[kept])[1]
    assert tlkeras.evaluate(tuned(data), images, names, class_names=known)[1] == right


@trap(
    "labels",
    "a class is missing from the test folder: each label after it is off by one",
    "`ValueError`: names of classes are compared; with `class_names=` the right value",
    catch_shifted,
)
def labels_off_by_one(data: World) -> Pair:
    """Number the names of the classes that are there, in the test set without fours."""
    kept = data.test_labels != 4
    images, labels = data.test_images[kept], data.test_labels[kept]
    _, numbered = np.unique(names_of(labels), return_inverse=True)
    return accuracy(tuned(data), images, labels), accuracy(tuned(data), images, numbered)


def catch_shuffled_images(data: World) -> None:
    """Batches are shuffled with their labels."""
    numbers = np.arange(50)
    for batch, labels in training_batches((numbers, numbers), 10, seed=0):
        assert np.array_equal(batch, labels)


@trap(
    "labels",
    "images are shuffled without their labels",
    "shuffles indices or pairs only; cannot tell in arrays that were shuffled before",
    catch_shuffled_images,
)
def shuffled_images(data: World) -> Pair:
    """Probe, with the training images in order and out of it."""
    train, test = features(data)
    order = np.random.default_rng(data.seed).permutation(len(train))
    return well_probed(data), probed(train[order], test, data)


def catch_shuffled_set(data: World) -> None:
    """A data set is read once, images and labels together."""
    batches = shuffled_set(data)
    right = tlkeras.evaluate(tuned(data), data.test_images, data.test_labels)[1]
    assert tlkeras.evaluate(tuned(data), batches)[1] == right


def shuffled_set(data: World) -> tf.data.Dataset:
    """Return the test digits as a data set that comes in another order each time, as Keras makes it of a folder."""
    digits = tf.data.Dataset.from_tensor_slices((data.test_images, data.test_labels))
    return digits.shuffle(len(data.test_labels), seed=data.seed).batch(100)


@trap(
    "labels",
    "labels of a shuffled data set are read in one pass, and predictions made in another",
    "`evaluate` and `finetune` read a data set once",
    catch_shuffled_set,
)
def two_passes(data: World) -> Pair:
    """Compare the answers with labels of the same pass and of another."""
    batches = shuffled_set(data)
    same = [np.mean(answers(tuned(data), images) == labels) for images, labels in batches.as_numpy_iterator()]
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    found = np.concatenate([answers(tuned(data), images) for images, _ in batches.as_numpy_iterator()])
    return float(np.mean(same)), float(np.mean(found == labels))


def catch_column(data: World) -> None:
    """Labels may be a column."""
    right = tlkeras.evaluate(tuned(data), data.test_images, data.test_labels)
    assert tlkeras.evaluate(tuned(data), data.test_images, data.test_labels[:, None]) == right


@trap(
    "labels",
    "`np.mean(answers == labels)` where labels are a column `(n, 1)`, as CIFAR's are: each is compared with all",
    "takes `(n,)` and `(n, 1)`",
    catch_column,
)
def column_of_labels(data: World) -> Pair:
    """Compare the answers with a row and with a column."""
    found = answers(tuned(data), data.test_images)
    return float(np.mean(found == data.test_labels)), float(np.mean(found == data.test_labels[:, None]))


def catch_sorted(data: World) -> None:
    """Draws are random, or have as many of each class."""
    labels = np.sort(data.labels)
    drawn = few_shot(labels, len(labels) // 2, seed=0, balanced=True)
    assert np.bincount(labels[drawn]).tolist() == [len(labels) // 20] * CLASSES
    training, _ = tlkeras.data.holdout(labels, (len(labels) - 20, 20), seed=0)
    assert len(set(labels[training])) == CLASSES


@trap(
    "labels",
    "`validation_split` of images sorted by class: it takes the last ones, so some classes are never trained",
    "`few_shot` and `holdout` draw at random, `few_shot` also as many of each class",
    catch_sorted,
)
def sorted_split(data: World) -> Pair:
    """Probe on four fifths of the digits, in random order and sorted."""
    train, test = features(data)

    def split(order: np.ndarray) -> float:
        keras.utils.set_random_seed(data.seed)
        model = head()
        model.fit(train[order], data.labels[order], epochs=HEAD_EPOCHS, validation_split=0.2, verbose=0)
        return accuracy(model, test, data.test_labels)

    return split(np.arange(len(train))), split(np.argsort(data.labels, kind="stable"))


def catch_buffer(data: World) -> None:
    """The buffer holds the whole set."""
    numbers = np.arange(1000)
    first = next(iter(training_batches((numbers, numbers), 100, seed=0)))[0].numpy()
    assert first.max() > 500


@trap(
    "labels",
    "`shuffle(32)` of a data set sorted by class: a batch has one or two classes",
    "shuffles the whole training set",
    catch_buffer,
)
def small_buffer(data: World) -> Pair:
    """Probe for few epochs with a buffer of everything, and of one batch."""
    train, test = features(data)
    order = np.argsort(data.labels, kind="stable")

    def buffered(size: int) -> float:
        keras.utils.set_random_seed(data.seed)
        model = head()
        batches = tf.data.Dataset.from_tensor_slices((train[order], data.labels[order]))
        model.fit(batches.shuffle(size, seed=data.seed).batch(32), epochs=3, shuffle=False, verbose=0)
        return accuracy(model, test, data.test_labels)

    return buffered(len(train)), buffered(32)


def catch_leak(data: World) -> None:
    """`adapt` looks for images that show the same; `holdout` gives disjoint parts."""
    training, held = tlkeras.data.holdout(100, (80, 20), seed=0)
    assert not set(training) & set(held)
    colour = np.repeat(data.images, 3, axis=-1)
    files = [f"{place}.png" for place in range(len(colour))]
    kept, leaked = (folder.Photographs(tuple(colour[part]), data.labels[part], tuple(files[part])) for part in LEAK)
    assert [row["first"] for row in folder.near_duplicates(kept, leaked)[0]] == ["5.png"]


LEAK = (slice(0, 6), slice(5, 6))


@trap(
    "scores",
    "validation images are among the training images: what is reported, against what it is worth",
    "`holdout` gives disjoint parts; `adapt` lists images that show the same; `finetune` does not look",
    catch_leak,
)
def leaked_validation(data: World) -> Pair:
    """Validate a probe on images of the test set that it was trained on."""
    train, test = features(data)
    keras.utils.set_random_seed(data.seed)
    model, half = head(), len(test) // 2
    images, labels = np.concatenate([train, test[:half]]), np.concatenate([data.labels, data.test_labels[:half]])
    model.fit(images, labels, epochs=HEAD_EPOCHS, verbose=0)
    return accuracy(model, test[half:], data.test_labels[half:]), accuracy(model, test[:half], data.test_labels[:half])


def catch_augmented(data: World) -> None:
    """Augmentation is of training images alone: black ones in training leave validation as it is."""
    model = small()
    phases = [Phase("head", "head", 1, 1e-3)]
    digits = few(data)
    history = finetune(model, digits, digits, phases, seed=0, augment=lambda images, seed: images * 0)
    assert np.allclose(history.val_accuracy, accuracy(model, *digits))


@trap(
    "scores",
    "augmentation is applied to validation images, too: what is reported, against what it is worth",
    "`augment=` is applied to training images alone",
    catch_augmented,
)
def augmented_validation(data: World) -> Pair:
    """Score a network on the test digits, and on turned and shifted ones."""
    keras.utils.set_random_seed(data.seed)
    turned = keras.layers.RandomRotation(0.1, fill_mode="constant")(data.test_images.astype("float32"), training=True)
    shifted = keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant")(turned, training=True)
    return tested(tuned(data), data), accuracy(tuned(data), shifted, data.test_labels)


# Outputs.


def catch_logits(data: World) -> None:
    """The loss is chosen by what ends the network."""
    for activation in (None, "softmax"):
        model = tlkeras.tominet(CLASSES, filters=(2,), classifier_activation=activation)
        compile_classifier(model, keras.optimizers.Adam())
        assert model.loss.from_logits is (activation is None)


def output_trained(data: World, activation: str | None, loss: Any) -> float:
    """Return the accuracy of a head of its own loss."""
    train, test = features(data)
    keras.utils.set_random_seed(data.seed)
    inputs = keras.Input((train.shape[1],))
    model = compiled(keras.Model(inputs, keras.layers.Dense(CLASSES, activation=activation)(inputs)), 1e-2, loss)
    model.fit(train, data.labels, epochs=HEAD_EPOCHS, verbose=0)
    return accuracy(model, test, data.test_labels)


@trap(
    "outputs",
    'no softmax at the end, and `loss="sparse_categorical_crossentropy"`, which takes probabilities',
    "sets `from_logits` by what ends the network",
    catch_logits,
)
def logits_as_probabilities(data: World) -> Pair:
    """Train a head without softmax by the loss of logits, and by that of probabilities."""
    right = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return output_trained(data, None, right), output_trained(data, None, LOSS)


@trap(
    "outputs",
    "a softmax at the end, and `from_logits=True`, which applies another",
    "sets `from_logits` by what ends the network",
    catch_logits,
)
def softmax_twice(data: World) -> Pair:
    """Train a head with softmax by the loss of probabilities, and by that of logits; Keras 3 sees it in a plain one."""
    return well_probed(data), output_trained(
        data, "softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )


def catch_single(data: World) -> None:
    """A single output of a softmax is refused."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="softmax")])
    with refused(ValueError, "Received: softmax, 1 outputs"):
        compile_classifier(model, keras.optimizers.Adam())


@trap(
    "outputs",
    "the softmax of a single output, which is always 1, for two classes",
    "`ValueError` before training",
    catch_single,
)
def single_softmax(data: World) -> Pair:
    """Tell even from odd digits by one sigmoid, and by one softmax."""
    train, test = features(data)

    def told(activation: str) -> float:
        keras.utils.set_random_seed(data.seed)
        inputs = keras.Input((train.shape[1],))
        model = keras.Model(inputs, keras.layers.Dense(1, activation=activation)(inputs))
        compiled(model, 1e-2, "binary_crossentropy", metrics=["binary_accuracy"])
        model.fit(train, data.labels % 2, epochs=HEAD_EPOCHS, verbose=0)
        outputs = keras.ops.convert_to_numpy(model(test))[:, 0]
        return float(np.mean((outputs > 0.5) == data.test_labels % 2))

    return told("sigmoid"), told("softmax")


# The record.


def shown(name: str, data: World) -> tuple[Pair, bool]:
    """Return both accuracies of a trap, and whether Keras warned."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pair = TRAPS[name].shown(data)
    return pair, any(warning.category is UserWarning for warning in told)


def row(name: str, count: int, tests: int, seeds: range) -> dict[str, Any]:
    """Return what is recorded of a trap, and fail unless tlkeras catches it."""
    TRAPS[name].caught(world(count, tests, seeds[0]))
    found = [shown(name, world(count, tests, seed)) for seed in seeds]
    right, wrong = ([round(pair[place], 4) for pair, _ in found] for place in (0, 1))
    return {
        **{"trap": name, "group": TRAPS[name].group, "says": TRAPS[name].says, "tlkeras": TRAPS[name].tlkeras},
        **{"keras_warns": any(warned for _, warned in found), "right": median(right), "in_the_trap": median(wrong)},
        **{"difference": round(median(b - a for a, b in zip(right, wrong, strict=True)), 4), "n": len(found)},
        **{"runs": [right, wrong], "training_images": count, "test_images": tests},
    }


def record(found: dict[str, Any]) -> None:
    """Store a row in the place of an earlier one, and forget traps that are no more."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    stored = {old["trap"]: old for old in traps.read()}
    stored[found["trap"]] = {**found, "date": date, **reliability.machine()}
    write_json(traps.RECORD, [stored[name] for name in TRAPS if name in stored], indent=1)


def main() -> int:
    """Show every trap, print a row of each, and store it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trap", choices=TRAPS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=100, help="to train on (default: 100)")
    parser.add_argument("--tests", type=int, default=1000, help="to test on (default: 1000)")
    parser.add_argument("--record", action="store_true", help="store the rows in results/traps.json")
    options = parser.parse_args()
    for name in options.trap or TRAPS:
        found = row(name, options.images, options.tests, range(options.seeds))
        print(json.dumps(found), flush=True)
        if options.record:
            record(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
