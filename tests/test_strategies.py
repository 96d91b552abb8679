"""What each strategy trains, in which phases, that the rest stays where it was; and which one is advised for what."""

import keras
import numpy as np
import pytest
from helpers import labelled, tiny
from keras import layers

from tlkeras.models import alexnet, squeezenet, tominet, vgg16
from tlkeras.transfer import freezing, further, strategies
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


@pytest.mark.parametrize("strategy", [*strategies.STRATEGIES, *further.WHOLE, "surgical_1"])
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
