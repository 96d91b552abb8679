"""Tests that hold on every backend of Keras: `make test` runs them on TensorFlow, `make test-jax` on JAX."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the tests above share

ON_JAX_ALONE = ["test_l2t_jax.py", "test_l2t_together.py"]
ON_JAX = os.environ.get("KERAS_BACKEND") == "jax"
collect_ignore = [] if ON_JAX else list(ON_JAX_ALONE)
if os.environ.get("KERAS_BACKEND") == "torch":  # for which learning to transfer has no engine
    collect_ignore += ["test_l2t_peers.py"]
if ON_JAX:
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # read once; learning to transfer is compared in float64


@pytest.fixture(scope="module")
def float32():
    """Have JAX know float32 alone, as it does for users who do not say otherwise."""
    if not ON_JAX:
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)
