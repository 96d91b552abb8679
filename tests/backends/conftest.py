"""Tests that hold on every backend of Keras: `make test` runs them on TensorFlow, `make test-jax` on JAX."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the tests above share

ON_JAX_ALONE = ["test_l2t_jax.py"]
collect_ignore = [] if os.environ.get("KERAS_BACKEND") == "jax" else ON_JAX_ALONE
