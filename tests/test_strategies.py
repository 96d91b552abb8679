"""What each strategy trains, pulls, slows or blends, that the rest stays as it was; and which is advised for what."""

import keras
import numpy as np
import pytest
from helpers import labelled, tiny
from keras import layers, ops

from tlkeras.models import alexnet, squeezenet, tominet, vgg16
from tlkeras.transfer import Phase, batches, finetune, freezing, strategies
from tlkeras.transfer.phases import PulledAdam
from tlkeras.transfer.strategies import ADVICE, EmptyClassError, SimilarityError, recommend

NETWORKS = {  # what "freeze_some" trains first, and the classifier
    "tominet": (lambda: tominet(10), "conv_2", ["dense"]),
    "squeezenet": (lambda: squeezenet(10, weights=None), "fire8_squeeze1x1", ["conv10"]),
    "alexnet": (lambda: alexnet(2, (64, 64, 3), weights=None), "conv5", ["classifier"]),
    "vgg16": (lambda: vgg16(2, (32, 32, 3), weights=None), "block5_conv1", ["predictions"]),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_the_three_strategies_of_every_network(name):
    build, first, classifier = NETWORKS[name]
    model = build()
    names = freezing.trained_layers(model, "all")
    chosen = {strategy: strategies.layers_to_train(model, strategy) for strategy in strategies.STRATEGIES}
    assert chosen["train_all"] == names
    assert chosen["freeze_some"] == names[names.index(first) :]
    assert chosen["freeze_base"] == classifier == strategies.classifier_layers(model)


def test_squeezenet_gets_the_layers_of_report_000():
    model = squeezenet(10, weights=None)
    assert freezing.freeze(model, strategies.layers_to_train(model, "freeze_some"), expect=391_306) == 391_306


def test_a_classifier_of_several_dense_layers_is_trained_as_a_whole():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, name="low")(inputs)
    x = layers.Conv2D(2, 3, name="high")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(4, name="hidden")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(3, name="classes")(x))
    assert strategies.layers_to_train(model, "freeze_base") == ["hidden", "classes"]
    assert strategies.layers_to_train(model, "freeze_some") == ["high", "norm", "hidden", "classes"]
    assert strategies.layers_to_train(model, "freeze_some", upper_share=1.0)[0] == "low"
    assert strategies.layers_to_train(model, "freeze_some", upper_share=0.0)[0] == "high"


def test_the_classifier_is_trained_first_and_all_strategies_see_the_images_equally_often():
    model = tiny()
    options = {"epochs": 4, "head_epochs": 2, "learning_rate": 1e-4, "head_rate": 1e-2}
    found = {strategy: strategies.phases(model, strategy, **options) for strategy in strategies.STRATEGIES}
    assert {sum(phase.epochs for phase in phases) for phases in found.values()} == {6}
    for strategy in ("train_all", "freeze_some"):
        head, main = found[strategy]
        assert (head.train, head.learning_rate, main.learning_rate) == (["dense"], 1e-2, 1e-4)
    (alone,) = found["freeze_base"]
    assert (alone.train, alone.learning_rate) == (["dense"], 1e-2)
    assert [phase.name for phase in strategies.phases(model, "train_all", epochs=1)] == ["train_all"]


@pytest.mark.parametrize("strategy", [*strategies.STRATEGIES, *strategies.WHOLE, "surgical_1"])
def test_adapting_moves_what_the_strategy_names_and_nothing_else(strategy):
    model = tiny()
    before = freezing.snapshot(model)
    history = strategies.adapt(model, strategy, labelled(), labelled(6), seed=0, epochs=1, head_epochs=1)
    moved = {name for name, move in freezing.largest_moves(before, model).items() if move}
    assert moved == set(strategies.layers_to_train(model, strategy))
    assert len(history.val_accuracy) == 2
    assert np.isfinite(history.loss).all()


def test_an_unknown_strategy_is_an_error_of_its_own():
    for call in (strategies.layers_to_train, lambda model, name: strategies.phases(model, name, epochs=1)):
        with pytest.raises(
            strategies.UnknownStrategyError, match=r"'freeze_base', .*'surgical_N'\)\. Received: strategy='all'$"
        ):
            call(tiny(), "all")


def test_a_share_outside_0_to_1_and_a_network_without_a_base_are_refused():
    with pytest.raises(ValueError, match=r"from 0 to 1\. Received: upper_share=1.5"):
        strategies.layers_to_train(tiny(), "freeze_some", upper_share=1.5)
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="only")])
    with pytest.raises(ValueError, match=r"convolutional base .* Received: layers \['only'\]"):
        strategies.layers_to_train(dense, "freeze_base")


@pytest.mark.parametrize(
    ("images_per_class", "similarity", "quadrant", "strategy"),
    [
        (1_000, 0.0, 1, "train_all"),
        (6_000, 0.49, 1, "train_all"),
        (1_000, 0.5, 2, "freeze_some"),
        (100_000, 1.0, 2, "freeze_some"),
        (999, 0.49, 3, "freeze_some"),
        (1, 0.0, 3, "freeze_some"),
        (999, 0.5, 4, "freeze_base"),
        (50, 1, 4, "freeze_base"),
    ],
)
def test_each_quadrant_has_the_advice_of_the_slides(images_per_class, similarity, quadrant, strategy):
    advice = recommend(images_per_class, similarity)
    assert (advice.quadrant, advice.strategy) == (quadrant, strategy)
    assert (advice.large, advice.similar) == (images_per_class >= 1_000, similarity >= 0.5)


def test_the_advice_is_a_strategy_with_a_reason():
    assert {advice.strategy for advice in ADVICE.values()} == set(strategies.STRATEGIES)
    assert all(advice.reason.endswith(".") for advice in ADVICE.values())
    assert "augmentation" in recommend(50, 0.1).reason


@pytest.mark.parametrize("count", [0, -3, 0.5, 10.5, True, float("nan")])
def test_a_class_without_images_is_an_error_of_its_own(count):
    with pytest.raises(EmptyClassError, match=r"at least 1 image of a class\. Received: images_per_class="):
        recommend(count, 0.5)


@pytest.mark.parametrize("similarity", [-0.01, 1.01, float("nan"), float("inf"), True])
def test_a_similarity_outside_0_to_1_is_an_error_of_its_own(similarity):
    with pytest.raises(SimilarityError, match=r"from 0 to 1\. Received: similarity="):
        recommend(50, similarity)


OPTIONS = {"epochs": 3, "head_epochs": 2, "learning_rate": 1e-4, "head_rate": 1e-2}
BLOCKS = {  # the first layer of each block
    "squeezenet": (
        lambda: squeezenet(10, (64, 64, 3), weights=None),
        ["conv1", "fire2_squeeze1x1", "fire4_squeeze1x1", "fire6_squeeze1x1"],
    ),
    "alexnet": (lambda: alexnet(2, (64, 64, 3), weights=None), ["conv1", "conv2", "conv3"]),
    "vgg16": (lambda: vgg16(2, (32, 32, 3), weights=None), [f"block{number}_conv1" for number in range(1, 6)]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_surgery_trains_one_block_and_the_classifier_and_the_blocks_are_all_there_is(name):
    build, firsts = BLOCKS[name]
    model = build()
    chosen = [strategies.layers_to_train(model, f"surgical_{number + 1}") for number in range(len(firsts))]
    classifier = strategies.classifier_layers(model)
    assert [names[0] for names in chosen] == firsts
    assert all(names[-len(classifier) :] == classifier for names in chosen)
    below = [layer for names in chosen for layer in names[: -len(classifier)]]
    assert below + classifier == freezing.trained_layers(model, "all")


def test_a_block_that_there_is_not_or_maps_of_unknown_size_are_refused():
    model = tiny()
    with pytest.raises(strategies.UnknownStrategyError, match=r"surgical_1\.\.2'.* strategy='surgical_9'$"):
        strategies.layers_to_train(model, "surgical_9")
    for name in ("surgical_0", "surgical_", "surgical_x"):
        with pytest.raises(strategies.UnknownStrategyError, match=rf"strategy='{name}'$"):
            strategies.layers_to_train(model, name)
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="low")(inputs))
    endless = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match=r"fixed input size\. Received: maps of shape \(None, None\) from 'low'"):
        strategies.layers_to_train(endless, "surgical_1")


@pytest.mark.parametrize("strategy", strategies.WHOLE)
def test_the_others_train_everything_and_see_the_images_as_often_as_the_three(strategy):
    model = tiny()
    phases = strategies.phases(model, strategy, **OPTIONS)
    assert phases[-1].train == freezing.trained_layers(model, "all")
    assert sum(phase.epochs for phase in phases) == 5
    assert [phase.name for phase in phases] == (["direct"] if strategy == "direct" else ["head", strategy])
    assert phases[-1].learning_rate == 1e-4


def normalised():
    """Return a classifier with layers that have a state and nothing to train, as EfficientNet has them."""
    inputs, standardisation = keras.Input((8, 8, 1)), layers.Normalization(name="standardisation")
    standardisation.adapt(labelled()[0])
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="low")(standardisation(inputs))
    x = layers.BatchNormalization(scale=False, center=False, name="norm")(x)
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="high")(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(layers.Flatten()(x)))


@pytest.mark.parametrize("strategy", ["l2_sp", "layerwise", "surgical_1"])
def test_layers_with_nothing_to_train_are_in_no_ones_way(strategy):
    model = normalised()
    assert strategies.layers_to_train(model, strategy) == [layer.name for layer in model.layers if layer.weights]
    strategies.adapt(model, strategy, labelled(), seed=0, epochs=1, head_epochs=1)
    model.trainable = False
    assert strategies.phases(model, strategy, **OPTIONS) == strategies.phases(normalised(), strategy, **OPTIONS)


def test_what_each_changes_is_of_layers_that_have_something_to_train():
    pulled, graded = (strategies.phases(normalised(), name, **OPTIONS)[-1] for name in ("l2_sp", "layerwise"))
    assert list(pulled.pull) == ["low", "high"] and list(pulled.decay) == ["classes"]
    assert graded.multipliers == pytest.approx({"low": 0.01, "high": 0.1, "classes": 1.0})


def test_a_probe_first_needs_epochs_of_it_and_is_otherwise_the_first_strategy_of_the_slides():
    model = tiny()
    with pytest.raises(ValueError, match=r"for 'lp_ft'\. Received: head_epochs=0$"):
        strategies.phases(model, "lp_ft", epochs=1)
    (_, probed), (_, plain) = (strategies.phases(model, name, **OPTIONS) for name in ("lp_ft", "train_all"))
    assert (probed.train, probed.pull, probed.multipliers) == (plain.train, None, None)


def test_what_each_changes_in_its_phase():
    model = tiny()
    pulled, graded, blended = (
        strategies.phases(model, name, **OPTIONS)[-1] for name in ("l2_sp", "layerwise", "mixup")
    )
    base = set(freezing.trained_layers(model, "all")) - {"dense"}
    assert set(pulled.pull) == base and set(pulled.decay) == {"dense"}
    assert graded.multipliers["conv_1"] == strategies.FIRST_RATE and graded.multipliers["dense"] == 1
    assert blended.mixup == strategies.MIXING
    assert strategies.phases(model, "surgical_1", **OPTIONS)[-1].mixup == 0


def trained(optimizer, steps=30):
    model = tiny()
    freezing.compile_classifier(model, optimizer)
    before = freezing.snapshot(model)
    for _ in range(steps):
        model.train_on_batch(*labelled(8))
    return freezing.relative_moves(before, model), model


def test_a_pull_holds_its_layer_near_the_start_and_decay_draws_its_layer_to_zero():
    free, model = trained(keras.optimizers.Adam(0.01))
    length = np.linalg.norm(model.get_layer("dense").kernel)
    held, model = trained(PulledAdam(0.01, pull={"conv_1": 100.0}, decay={"dense": 100.0}))
    assert held["conv_1"] < 0.3 * free["conv_1"]
    assert np.linalg.norm(model.get_layer("dense").kernel) < 0.8 * length


def test_the_gradient_of_the_penalty_is_what_is_added():
    """One variable, a loss without gradient: what moves it is the strength times the distance, under plain Adam."""
    start, optimizer = keras.Variable([1.0, 2.0], name="kernel"), PulledAdam(0.1, pull={}, decay={})
    optimizer.build([start])
    optimizer._strengths = (0.5,)
    optimizer._starts[0].assign([0.0, 2.0])
    optimizer.apply([keras.ops.zeros(2)], [start])
    twin, adam = keras.Variable([1.0, 2.0]), keras.optimizers.Adam(0.1)
    adam.apply([keras.ops.convert_to_tensor([0.5, 0.0])], [twin])
    np.testing.assert_array_equal(start, twin)


def test_without_strengths_it_is_adam_and_a_saved_one_remembers_the_start(tmp_path):
    plain, _ = trained(keras.optimizers.Adam(0.01), 3)
    same, _ = trained(PulledAdam(0.01), 3)
    assert same == plain
    _, model = trained(PulledAdam(0.01, pull={"conv_1": 1.0}, decay={"dense": 0.1}), 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.optimizer.pull, loaded.optimizer.decay) == ({"conv_1": 1.0}, {"dense": 0.1})
    for each in (model, loaded):
        each.train_on_batch(*labelled(8))
    for own, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)


@pytest.mark.parametrize(
    "strengths", [{"pull": {"dense": -1.0}}, {"decay": {"dense": np.inf}}, {"pull": {"a": 1}, "decay": {"a": 1}}]
)
def test_strengths_that_cannot_be_are_refused(strengths):
    with pytest.raises(ValueError, match=r"finite strengths .* both pulled and decayed\. Received: pull="):
        PulledAdam(0.01, **strengths)


@pytest.mark.parametrize("what", ["pull", "decay"])
def test_strengths_of_layers_that_do_not_train_are_refused(what):
    with pytest.raises(ValueError, match=rf"Expected {what} for trained layers, out of .*Received: \['conv_1'\]$"):
        freezing.freeze(tiny(), "head", optimizer=PulledAdam(0.01, **{what: {"conv_1": 1.0}}))


def test_mixup_blends_images_and_labels_in_one_share_that_its_seed_decides():
    images, labels = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) ** 2, np.array([0, 1, 2, 0], np.int32)
    blend = batches.mixup(1.0, 3)
    seen, shares = blend(images, labels, ops.convert_to_tensor([1, 2]))
    share = float(shares[1][1])
    assert 0 < share < 1
    rolled, classes = np.roll(images, 1, axis=0), np.eye(3)[labels]
    np.testing.assert_allclose(seen, share * images + (1 - share) * rolled, rtol=1e-6)
    np.testing.assert_allclose(shares, share * classes + (1 - share) * np.roll(classes, 1, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-6)
    again, other = (blend(images, labels, ops.convert_to_tensor(seed))[0] for seed in ([1, 2], [3, 4]))
    np.testing.assert_array_equal(seen, again)
    assert not np.array_equal(seen, other)


def test_shares_of_mixup_are_from_its_beta_distribution():
    images, labels = np.zeros((2, 1, 1, 1), np.float32), np.array([0, 1], np.int32)
    shares = np.array(
        [batches.mixup(0.2, 2)(images, labels, ops.convert_to_tensor([n, 0]))[1][0, 0] for n in range(500)]
    )
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.var(shares) == pytest.approx(0.25 / 1.4, abs=0.02)  # of Beta(a, a): 1 / (4 (2 a + 1))


def test_a_phase_with_mixup_caches_nothing_and_the_next_has_integer_labels_again():
    model = tiny()
    phases = [Phase("blended", "head", 1, 1e-3, mixup=0.2), Phase("plain", "head", 1, 1e-3)]
    history = finetune(model, labelled(), None, phases, seed=0)
    assert history.cached == {"blended": False, "plain": True}
    with pytest.raises(ValueError, match=r"no weights of images that are blended\. Received: weights$"):
        finetune(model, labelled(), None, phases[:1], seed=0, sample_weight=np.ones(len(labelled()[0])))


def test_the_same_seed_blends_alike():
    found = []
    for _ in range(2):
        model = tiny()
        keras.utils.set_random_seed(3)
        found.append(finetune(model, labelled(), None, [Phase("all", "all", 2, 1e-3, mixup=1.0)], seed=5).loss)
    assert found[0] == found[1]


def test_batches_without_tensorflow_blend_alike():
    data = labelled(12)
    made = batches.Batches(data, 4, 0, None, batches.mixup(1.0, 3))
    seen, shares = made[0]
    assert (seen.shape, shares.shape, len(made)) == ((4, 8, 8, 1), (4, 3), 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert np.unique(np.round(shares, 5)).size > 2  # neither zeros and ones alone
    np.testing.assert_array_equal(seen, made[0][0])
    assert not np.array_equal(seen, made[1][0])


def test_mixup_that_cannot_be_is_refused():
    for strength in (-0.1, float("inf")):
        with pytest.raises(ValueError, match=rf"finite mixup of at least 0\. Received: mixup={strength}"):
            Phase("all", "all", 1, 1e-3, mixup=strength)
    with pytest.raises(ValueError, match=r"strength above 0 and 2 classes\. Received: strength=0, classes=3"):
        batches.mixup(0, 3)
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(2, 3)(inputs))
    single = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    with pytest.raises(ValueError, match="Expected an output for each class"):
        freezing.compile_classifier(single, keras.optimizers.Adam(), shares=True)
