"""What a run is described by, and what is freed after it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tlkeras.experiments import environment


def test_no_git_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._commit() is None
    monkeypatch.setattr(environment, "REPOSITORY", tmp_path)
    assert environment._commit() is None


def test_what_tensorflow_registers_during_a_run_is_forgotten():
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    before = set(registry)
    with pytest.raises(RuntimeError), environment.bounded_memory():
        registry["CustomGradient-made"] = {}
        raise RuntimeError
    assert set(registry) == before


@pytest.mark.parametrize(("value", "calls"), [("1", 1), ("0", 0), ("", 0)])
def test_one_variable_makes_operations_deterministic(monkeypatch, value, calls):
    import tensorflow as tf

    called = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append(1))
    monkeypatch.setenv("TLKERAS_DETERMINISTIC", value)
    environment.be_deterministic()
    assert len(called) == calls


def test_a_run_is_described_by_versions_device_commit_and_date():
    facts = environment.describe()
    assert facts["versions"]["keras"].count(".") == 2
    assert facts["device"]
    assert facts["date"].endswith("+00:00")


def test_a_run_is_described_by_the_threads_of_an_operation(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert environment.describe()["threads"] == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert environment.describe()["threads"] == os.cpu_count()
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # it has no such setting
    assert environment.describe()["threads"] is None


def test_peak_memory_is_of_the_process_alone():
    large = np.ones(2**27, np.uint8)  # 128 MiB here, and not in the new process
    code = "from tlkeras.experiments import environment; print(environment.peak_memory_mib())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 10 < float(found) < environment.peak_memory_mib() - len(large) / 2**20 / 2
