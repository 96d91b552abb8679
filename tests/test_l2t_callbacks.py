"""What is kept of a training: the answers at every look, the path of single weights; the training stays the same."""

import keras
import numpy as np
from l2t_helpers import ALIKE, everything, images, made

from tlkeras.l2t import Answers, Trajectory

SMALL = {"epochs": 4, "batch_size": 6, "learning_rate": 0.05}


def test_the_answers_are_those_of_the_meta_networks_and_the_path_ends_at_the_weights():
    training = made(which=True)
    start = np.asarray(training.target.get_layer("conv1").kernel)[1, 2, 0, 3]
    answers = Answers(training, images()[0], every=2, pair=1, channels=(0, 3))
    path = Trajectory("conv1", [(1, 2, 0, 3), (0, 0, 1, 1)])
    training.fit(*images(), **SMALL, callbacks=[answers, path])
    found = training.transfer_weights(images()[0])
    assert answers.epochs == [0, 2, 4]
    assert np.allclose(answers.kept["where"][-1], [x.mean() for x in found["where"]], atol=1e-4)
    assert np.allclose(answers.kept["which"][-1], found["which"][1][:, [0, 3]].mean(0).reshape(2, 9), atol=1e-4)
    assert np.allclose(answers.kept["what"][0], 1) and np.allclose(answers.kept["which"][0], 1)  # all alike at first
    assert len(path.weights) == 5 and len(path.moved) == 4 and min(path.moved) > 0
    assert np.isclose(path.weights[0][0], start, atol=1e-5)
    assert np.isclose(path.weights[-1][0], np.asarray(training.target.get_layer("conv1").kernel)[1, 2, 0, 3], atol=1e-5)


def test_of_a_resumed_training_the_rest_is_kept_and_of_two_trainings_the_second(tmp_path):
    training = made()
    answers, path = Answers(training, images()[0], every=2), Trajectory("conv1", [(0, 0, 0, 0)])

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    options = {**SMALL, "checkpoint": tmp_path / "run.npz"}
    training.fit(*images(), **options, callbacks=[Stop(), answers, path])
    assert answers.epochs == [0, 2] and len(path.weights) == 3
    end = answers.kept["where"][-1]
    training.fit(*images(), **options, callbacks=[answers, path])
    assert answers.epochs == [2, 4] and (len(path.weights), len(path.moved)) == (3, 2)
    assert answers.kept["where"][0] == end and len(answers.kept["where"]) == 2


def test_watching_changes_nothing():
    ends = []
    for callbacks in ([], [Trajectory("conv1", [(0, 0, 0, 0)])]):
        training = made(pairs=[], **ALIKE)
        training.fit(*images(), **SMALL, callbacks=callbacks)
        ends.append(everything(training))
    assert all(np.array_equal(value, ends[1][name]) for name, value in ends[0].items())
