"""Each classifier learns what is there to learn, knows its cost, and refuses what does not fit it."""

import numpy as np
import pytest

from tlkeras.transfer import classifiers

LABELS = np.arange(60) % 3
GENERATOR = np.random.default_rng(0)
MAPS = (GENERATOR.normal(size=(60, 2, 2, 5)) + 4 * np.eye(3, 5)[LABELS][:, None, None]).astype(np.float32)


@pytest.mark.parametrize("kind", classifiers.CLASSIFIERS)
def test_every_classifier_separates_what_is_separable(kind):
    found = classifiers.fit_classifier(kind, 50 * MAPS + 300, LABELS, 3, seed=0, epochs=60)
    assert found.accuracy(50 * MAPS + 300, LABELS) >= 0.95
    assert found.accuracy(50 * MAPS + 300, (LABELS + 1) % 3) < 0.05
    assert found.shape == (2, 2, 5) and found.seconds > 0


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("fully_connected", (20 * 256 + 256) + (256 * 3 + 3)), ("global_average", 5 * 3 + 3), ("linear_svm", 5 * 3 + 3)],
)
def test_parameters_are_those_of_the_classifier_alone(kind, parameters):
    assert classifiers.fit_classifier(kind, MAPS, LABELS, 3, seed=0, epochs=1).parameters == parameters


def test_where_things_are_on_the_map_is_seen_by_the_fully_connected_one_alone():
    labels = np.arange(80) % 2
    maps = np.zeros((80, 2, 2, 1), np.float32)
    maps[np.arange(80), labels, 0, 0] = 1.0  # the same mean for both classes
    accuracy = {
        kind: classifiers.fit_classifier(kind, maps, labels, 2, seed=0, epochs=20).accuracy(maps, labels)
        for kind in classifiers.CLASSIFIERS
    }
    assert accuracy == {"fully_connected": 1.0, "global_average": 0.5, "linear_svm": 0.5}


@pytest.mark.parametrize("kind", classifiers.CLASSIFIERS)
def test_maps_of_half_precision_give_the_classifier_of_the_same_numbers(kind):
    maps = (500 * MAPS).astype(np.float16)  # their variance is more than float16 holds
    half, single = (
        classifiers.fit_classifier(kind, values, LABELS, 3, seed=0, epochs=2)
        for values in (maps, maps.astype(np.float32))
    )
    np.testing.assert_array_equal(half.predict(maps), single.predict(maps.astype(np.float32)))


def test_the_same_seed_gives_the_same_classifier():
    first, again = (
        classifiers.fit_classifier("fully_connected", MAPS[:9], LABELS[:9], 3, seed=1, epochs=1).predict(MAPS)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_maps_that_do_not_fit_are_an_error_of_their_own():
    found = classifiers.fit_classifier("linear_svm", MAPS, LABELS, 3, seed=0)
    with pytest.raises(classifiers.HeadMismatchError, match=r"shape \(2, 2, 5\)\. Received: \(3, 3, 5\)"):
        found.accuracy(np.zeros((4, 3, 3, 5), np.float32), LABELS[:4])
    for maps, labels in ((MAPS[:, 0, 0], LABELS), (MAPS[:0], LABELS[:0]), (MAPS, LABELS[:-1])):
        with pytest.raises(classifiers.HeadMismatchError, match="one label each"):
            classifiers.fit_classifier("linear_svm", maps, labels, 3, seed=0)


def test_unknown_classifiers_and_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match=r"Received: kind='forest'"):
        classifiers.fit_classifier("forest", MAPS, LABELS, 3, seed=0)
    with pytest.raises(ValueError, match=r"Received: kind='linear_svm'"):
        classifiers.head("linear_svm", (2, 2, 5), 3)
    with pytest.raises(ValueError, match=r"labels in 0\.\.1"):
        classifiers.fit_classifier("linear_svm", MAPS, LABELS, 2, seed=0)
