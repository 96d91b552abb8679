"""What must hold on a GPU: `pytest -m gpu tests/test_gpu.py`, which fails on a machine without one."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import images, labelled, tiny

import tlkeras
from tlkeras.experiments import environment
from tlkeras.transfer.features import split

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


def test_the_device_of_a_run_is_the_gpu():
    assert not environment.describe()["device"].startswith("CPU")


def test_a_network_computes_on_the_gpu_what_it_computes_on_the_cpu():
    model = tiny()
    with tf.device("/GPU:0"):
        on_gpu = model(images())
    with tf.device("/CPU:0"):
        on_cpu = model(images())
    assert "GPU" in on_gpu.device
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)


def test_fine_tuning_keeps_frozen_layers_and_moves_trained_ones():
    model, drawn = tiny(), labelled()
    frozen, trained = (model.get_layer(name).get_weights() for name in ("conv_1", "dense"))
    tlkeras.finetune(model, drawn, drawn, [tlkeras.Phase("head", "head", 2, 0.01)], seed=0)
    assert all(map(np.array_equal, frozen, model.get_layer("conv_1").get_weights()))
    assert not all(map(np.array_equal, trained, model.get_layer("dense").get_weights()))
    assert all("GPU" in weight.value.device for weight in model.trainable_variables)


def test_cached_features_give_the_same_answers():
    model = tiny()
    tlkeras.freeze(model, "head")
    base, head = split(model)
    np.testing.assert_allclose(head(base(images())), model(images()), atol=1e-4)
