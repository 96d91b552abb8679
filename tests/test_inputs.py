"""What Keras users bring trains as arrays do: data sets, one-hot and named labels, weights, grey images, a sigmoid."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import images, labelled, tiny

from tlkeras import _files
from tlkeras.models.weights import fingerprint
from tlkeras.transfer import FeatureCache, Phase, evaluate, finetune
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.evaluation import roc_auc
from tlkeras.transfer.freezing import compile_classifier
from tlkeras.transfer.inputs import read
from tlkeras.transfer.strategies import adapt

IMAGES, LABELS = labelled(20)
HELD = labelled(9, seed=1)
WEIGHTS = np.linspace(0, 2, 20).astype(np.float32)
NAMES = ("ant", "bee", "cat")
HEAD = Phase("head", "head", 2, 0.01)


class Batches(keras.utils.PyDataset):
    """Seven images at a time."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays[0]) // 7)

    def __getitem__(self, index):
        return tuple(array[7 * index : 7 * index + 7] for array in self.arrays)


def dataset(*arrays, size=7):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def named(labels, names=NAMES):
    return [names[label] for label in labels]


@pytest.fixture(scope="module")
def model():
    return tiny()


def weights_after(train, validation=HELD, **options):
    """Return the fingerprint of a trained head, and the history."""
    model = tiny()
    history = finetune(model, train, validation, (HEAD,), seed=0, batch_size=8, cache=FeatureCache(), **options)
    return fingerprint(model), history


@pytest.fixture(scope="module")
def plain():
    return weights_after((IMAGES, LABELS))


@pytest.fixture(scope="module")
def weighted():
    return weights_after((IMAGES, LABELS, WEIGHTS))


ONE_HOT = np.eye(3)[LABELS]
SAME = {
    "tf.data": lambda: dataset(IMAGES, LABELS),
    "tf.data, single images": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)),
    "tf.data, one-hot": lambda: dataset(IMAGES, ONE_HOT),
    "PyDataset": lambda: Batches(IMAGES, LABELS),
    "generator": lambda: ((IMAGES[i : i + 3], LABELS[i : i + 3]) for i in range(0, 20, 3)),
    "lists": lambda: [list(IMAGES), LABELS.tolist()],
    "tensors": lambda: (tf.constant(IMAGES), tf.constant(LABELS)),
    "columns": lambda: (IMAGES, LABELS[:, None].astype(np.float32)),
    "no channels": lambda: (IMAGES[..., 0], LABELS, None),
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_every_kind_is_read_as_the_same_arrays(model, make):
    (pixels, labels, weights), names = read(model, make())
    np.testing.assert_array_equal(pixels, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert pixels.dtype == np.uint8 and labels.dtype.kind == "i"
    assert weights is None and names == ()


@pytest.mark.parametrize("make", [dataset, Batches])
def test_data_sets_train_as_arrays_do(plain, weighted, make):
    found, history = weights_after(make(IMAGES, LABELS), make(*HELD))
    assert found == plain[0] and history.cached == {"head": True}
    assert history.curves(9) == plain[1].curves(9)
    assert weights_after(make(IMAGES, LABELS, WEIGHTS))[0] == weighted[0] != plain[0]


def test_a_folder_of_images_trains_with_the_names_of_its_classes(tmp_path):
    for name, label in zip(NAMES, range(3), strict=True):
        (tmp_path / name).mkdir()
        for index in np.flatnonzero(label == LABELS):
            keras.utils.save_img(tmp_path / name / f"{index}.png", IMAGES[index], scale=False)

    def folder(label_mode="int", **options):
        return keras.utils.image_dataset_from_directory(
            tmp_path,
            label_mode=label_mode,
            color_mode="grayscale",
            image_size=(8, 8),
            batch_size=7,
            seed=0,
            verbose=False,
            **options,
        )

    order = np.concatenate([sorted(np.flatnonzero(label == LABELS), key=str) for label in range(3)])
    found, history = weights_after(folder(shuffle=False), folder(label_mode="categorical"))
    assert history.class_names == NAMES
    assert found == weights_after((IMAGES[order].astype(np.float32), LABELS[order]))[0]
    other = folder()
    other.class_names = ["ant", "bee", "dog"]
    with pytest.raises(ValueError, match=r"named as in training, \['ant', .* Received: \['ant', 'bee', 'dog'\]$"):
        weights_after(folder(), other)


def test_labels_may_be_names_in_alphabetical_order(plain):
    found, history = weights_after((IMAGES, named(LABELS)), (HELD[0], np.array(named(HELD[1]), object)))
    assert found == plain[0] and history.class_names == NAMES
    model = tiny()
    expected = evaluate(model, *HELD)
    assert evaluate(model, HELD[0], named(HELD[1])) == expected
    assert evaluate(model, HELD[0], np.array(named(HELD[1])).astype("S")) == expected
    one = evaluate(model, HELD[0][HELD[1] == 1], ["bee"] * int((HELD[1] == 1).sum()), class_names=NAMES)
    assert one == evaluate(model, HELD[0][HELD[1] == 1], HELD[1][HELD[1] == 1])


@pytest.mark.parametrize(("train", "held"), [(LABELS, named(HELD[1])), (named(LABELS), ["dog"] * 9)])
def test_validation_labels_are_named_as_those_of_training(train, held):
    with pytest.raises(ValueError, match=r"Expected .*labels .*Received: \["):
        weights_after((IMAGES, train), (HELD[0], held))


def test_weights_of_classes_are_weights_of_their_images(weighted):
    factors = np.array([1.0, 0.5, 3.0], np.float32)
    expected = weights_after((IMAGES, LABELS, factors[LABELS]))[0]
    assert weights_after((IMAGES, LABELS), class_weight={1: 0.5, 2: 3.0})[0] == expected
    assert weights_after((IMAGES, named(LABELS)), class_weight={"bee": 0.5, "cat": 3.0})[0] == expected
    both = weights_after((IMAGES, LABELS, WEIGHTS), class_weight={0: 2.0, 1: 2.0, 2: 2.0})[0]
    assert both == weights_after((IMAGES, LABELS, 2 * WEIGHTS))[0]


def test_weights_of_images_come_beside_them_or_as_a_keyword(weighted):
    assert weights_after((IMAGES, LABELS), sample_weight=WEIGHTS)[0] == weighted[0]
    assert weights_after(dataset(IMAGES, LABELS), sample_weight=list(WEIGHTS))[0] == weighted[0]
    with pytest.raises(ValueError, match=r"beside the images, or as sample_weight=\. Received: both$"):
        weights_after((IMAGES, LABELS, WEIGHTS), sample_weight=WEIGHTS)


def test_images_of_weight_0_count_for_nothing():
    kept = np.arange(20) < 8
    changed = np.where(kept[:, None, None, None], IMAGES, 255 - IMAGES)
    phase, options = Phase("all", ["dense"], 1, 0.01), {"seed": 0, "batch_size": 20, "cache": None}
    found = []
    for pixels in (IMAGES, changed):
        model = tiny()
        finetune(model, (pixels, LABELS, kept.astype(float)), None, (phase,), **options)
        found.append(model.get_layer("dense").get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def single(activation="sigmoid"):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(1, activation=activation, name="dense")(x))


def two_of(model):
    """Return a classifier of two outputs that says the same as one of a single one."""
    logit = keras.Model(model.inputs, model.get_layer("dense").input)
    dense = keras.layers.Dense(2, activation="softmax", name="pair")
    twin = keras.Model(logit.inputs, dense(logit.outputs[0]))
    kernel, bias = model.get_layer("dense").get_weights()
    dense.set_weights([np.hstack([0 * kernel, kernel]), np.append(0 * bias, bias)])
    return twin


BINARY = (LABELS > 0).astype(np.int32)


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_scores_of_a_single_output_are_those_of_keras_and_of_two_outputs(activation, weights):
    model = single(activation)
    model.get_layer("dense").bias.assign([0.05])
    compile_classifier(model, keras.optimizers.Adam())
    expected = model.evaluate(IMAGES, BINARY, sample_weight=weights, batch_size=20, verbose=0)
    assert evaluate(model, IMAGES, BINARY, weights) == pytest.approx(expected, abs=1e-5)
    assert evaluate(two_of(model), IMAGES, BINARY, weights) == pytest.approx(expected, abs=1e-5)
    assert evaluate(model, dataset(IMAGES, np.eye(2)[BINARY])) == evaluate(model, IMAGES, BINARY)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_a_single_output_learns_two_classes(tmp_path, activation):
    bright = (images(20) // 4 + (BINARY * 180)[:, None, None, None]).astype(np.uint8)
    model = single(activation)
    detector = CollapseDetector(model, bright)
    history = finetune(
        model,
        (bright, BINARY),
        (bright, BINARY),
        [Phase("head", "head", 30, 0.5), Phase("all", "all", 1, 0.001)],
        seed=0,
        keep="best",
        checkpoints=tmp_path,
        metrics={"roc_auc": roc_auc},
        callbacks=[detector],
    )
    assert max(history.metrics["val_roc_auc"]) == 1.0 and detector.collapsed_at is None
    assert max(history.accuracy) == max(history.val_accuracy) == 1.0
    assert evaluate(model, bright, BINARY)[1] == 1.0


def test_the_detector_knows_a_single_output_that_guesses():
    model = single()
    model.get_layer("dense").kernel.assign(np.zeros((4, 1)))
    detector = CollapseDetector(model, IMAGES)
    with pytest.warns(CollapsedClassifierWarning, match="loss 0.6931"):
        detector.on_epoch_end(0, {"loss": float(np.log(2))})


def test_adapt_takes_a_data_set_weights_and_callbacks():
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=100)
    weights = {"sample_weight": np.ones(len(IMAGES)), "class_weight": {1: 2.0}}
    options = {"seed": 0, "epochs": 4, "callbacks": [stop], **weights}
    history = adapt(single(), "freeze_base", dataset(IMAGES, BINARY), Batches(IMAGES, BINARY), **options)
    assert history.phase == ["freeze_base"] * 2 and len(history.val_loss) == 2


def test_grey_images_are_repeated_for_a_colour_network():
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 3))
    colour = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(pixels)))
    expected = evaluate(colour, np.repeat(IMAGES, 3, axis=-1), LABELS)
    for grey in (IMAGES, IMAGES[..., 0], list(IMAGES[..., 0])):
        assert evaluate(colour, grey, LABELS) == expected


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")

    def call(self, pixels):
        return self.dense(self.flatten(pixels))


def test_a_subclassed_model_is_refused_with_what_makes_it_fit():
    model = Subclassed()
    model(IMAGES)
    message = r"functional model, .* `keras\.Model\(inputs, model\(inputs\)\)`\. Received: <Subclassed"
    for call in (
        lambda: finetune(model, (IMAGES, LABELS), None, (HEAD,), seed=0),
        lambda: evaluate(model, IMAGES, LABELS),
        lambda: adapt(model, "train_all", (IMAGES, LABELS), seed=0, epochs=1),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    pixels = keras.Input((8, 8, 1))
    wrapped = keras.Model(pixels, model(pixels))
    history = finetune(wrapped, (IMAGES, LABELS), HELD, (HEAD,), seed=0)
    assert history.loss[-1] < history.loss[0] and history.trainable == {"head": 195}


SIZES = [IMAGES[0], IMAGES[1][:4], *IMAGES[2:]]
BAD = {
    "classes from 1": (
        (IMAGES, LABELS + 1),
        r"labels in 0\.\.2, which start at 0: subtract 1\. Received: min=1, max=3$",
    ),
    "soft labels": ((IMAGES, ONE_HOT * 0.9 + 0.05), r"one-hot labels, .* Received: \[.*\] in row 0$"),
    "two classes in a row": (
        (IMAGES, np.ones((20, 3))),
        r"one-hot labels, .* Received: \[1\.0, 1\.0, 1\.0\] in row 0$",
    ),
    "other one-hot": ((IMAGES, np.eye(4)[LABELS]), r"one-hot \(n, 3\)\. Received: shape=\(20, 4\)$"),
    "halves": ((IMAGES, LABELS / 2), r"labels of integers\. Received: dtype=float64$"),
    "two names": ((IMAGES, named(LABELS, "aab")), r"names of all 3 classes, or integers 0\.\.2\. Received: 2 names"),
    "names and numbers": ((IMAGES, np.array(["a", *LABELS[1:]], object)), "labels of integers. Received: dtype=object"),
    "sizes": ((SIZES, LABELS), r"images of one size; resize them\. Received: shapes \[\(4, 8, 1\), \(8, 8, 1\)\]$"),
    "sizes of colour": (
        ([np.repeat(image, 3, axis=-1) for image in SIZES], LABELS),
        r"images\.squares\(images, 8\)` makes them so\. Received: shapes \[\(4, 8, 3\), \(8, 8, 3\)\]$",
    ),
    "sizes of floats": (
        ([np.repeat(image, 3, axis=-1).astype(np.float32) for image in SIZES], LABELS),
        r"images of one size; resize them\. Received: shapes \[\(4, 8, 3\), \(8, 8, 3\)\]$",
    ),
    "sizes as objects": ((np.array([*SIZES, None], object)[:-1], LABELS), r"Received: shapes \[\(4, 8, 1\), "),
    "sizes of batches": (
        ((IMAGES[i : i + 1, : 8 - i % 2], LABELS[i : i + 1]) for i in range(4)),
        r"images of one size; .* Received: shapes \[\(7, 8, 1\), \(8, 8, 1\)\]$",
    ),
    "no labels": ((IMAGES,), r"\(images, labels, weights\)\. Received: 1 parts$"),
    "images alone": (IMAGES, r"\(images, labels\), or a data set .* Received: ndarray$"),
    "a dict": ({"x": IMAGES}, r"Received: dict$"),
    "batches without labels": (
        tf.data.Dataset.from_tensor_slices(IMAGES).batch(4),
        r"batches of .* Received: \w*Tensor",
    ),
    "no batches": (dataset(IMAGES, LABELS).take(0), r"at least one batch .* Received: none$"),
    "no end": (dataset(IMAGES, LABELS).repeat(), r"with an end, one without `repeat\(\)`\. Received: <_Repeat"),
    "weights missing": ((IMAGES, LABELS, WEIGHTS[:-1]), r"a weight for each of 20 images, .* Received: shape=\(19,\)"),
    "weights below 0": ((IMAGES, LABELS, WEIGHTS - 1), r"weights of at least 0, .* Received: min=-1\.0, max=1\.0$"),
    "weights of 0": ((IMAGES, LABELS, WEIGHTS * 0), r"not all of them 0\. Received: min=0\.0, max=0\.0$"),
    "infinite weights": ((IMAGES, LABELS, np.full(20, np.inf)), r"finite weights"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_one_meaning_is_named(model, name):
    data, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        read(model, data)


@pytest.mark.parametrize("class_weight", [{"bee": 2.0}, {True: 1.0}, {0.5: 1.0}, {3: 5.0}, {-1: 5.0}])
def test_weights_of_unknown_classes(class_weight):
    with pytest.raises(ValueError, match=r"weights of classes 0\.\.2 or out of \[\]\. Received: .*classes \["):
        weights_after((IMAGES, LABELS), class_weight=class_weight)


def test_a_data_set_that_does_not_fit_into_memory_is_refused_while_it_is_read(model, monkeypatch):
    monkeypatch.setattr(_files, "MOST_BYTES", 1000)
    read(model, (IMAGES, LABELS))
    with pytest.raises(ValueError, match=r"at most 1e-06 GB, .* Received: more, in 3 batches so far$"):
        read(model, dataset(IMAGES, LABELS))


@pytest.mark.parametrize(("outputs", "activation"), [(1, "softmax"), (3, "sigmoid")])
def test_outputs_that_are_no_classifier_are_refused(outputs, activation):
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, keras.layers.Dense(outputs, activation=activation)(keras.layers.Flatten()(pixels)))
    message = rf"single output of a sigmoid.* Received: {activation}, {outputs} outputs$"
    with pytest.raises(ValueError, match=message):
        evaluate(model, IMAGES, BINARY)
    with pytest.raises(ValueError, match=message):
        finetune(model, (IMAGES, BINARY), None, (HEAD,), seed=0)


def test_many_trainings_in_one_process_say_nothing_of_retracing(caplog):
    with caplog.at_level(logging.WARNING, "tensorflow"):
        for seed in range(7):
            finetune(tiny(), (IMAGES, LABELS), HELD, (Phase("all", "all", 1, 0.01),), seed=seed)
    assert [record for record in caplog.records if "retracing" in record.getMessage()] == []
