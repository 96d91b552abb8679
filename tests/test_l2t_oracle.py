"""The first iteration of "what, where and which" gives the official code's numbers, on the networks of the report."""

from pathlib import Path

import l2t_oracle
import numpy as np
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden"


def test_an_iteration_gives_the_numbers_of_the_official_code():
    oracle = l2t_oracle.read(GOLDEN / "l2t.npz")
    batch = {name: oracle.pop(name) for name in ("x0", "y0")}
    case = l2t_oracle.Case("www_lr001", l2t_oracle.generator(GOLDEN))
    tf.config.run_functions_eagerly(True)  # tracing takes longer than one iteration
    try:
        found = case.found(batch, oracle["lr"], steps=1)
    finally:
        tf.config.run_functions_eagerly(False)
    errors = l2t_oracle.errors(found, oracle)
    assert len(errors) > 30
    assert max(errors.values()) < l2t_oracle.LIMIT, errors


def test_a_wrong_number_is_seen():
    oracle = {"it0/meta_grad/what/0/bias": np.ones(3), "it0/meta_grad/what/1/bias": np.ones(3), "lr": np.array(1.0)}
    found = {name: value.copy() for name, value in oracle.items()}
    assert l2t_oracle.errors(found, oracle) == {"it0/meta_grad/what/#/bias": 0.0}
    found["it0/meta_grad/what/1/bias"][0] += 1e-6
    assert l2t_oracle.errors(found, oracle)["it0/meta_grad/what/#/bias"] > 1e-7
    del found["it0/meta_grad/what/0/bias"]
    assert np.isnan(l2t_oracle.errors(found, oracle)["it0/meta_grad/what/#/bias"])
