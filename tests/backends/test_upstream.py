"""What `docs/upstream` reports to Keras is still so on this backend, and the page says what is recorded.

When the second test fails on TensorFlow, Keras was mended, and the report may go.
"""

import keras
import pytest

from tools import upstream

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.fixture(scope="module")
def measured(float32):
    return {row["order"]: row for row in upstream.measure()}


def close(row):
    return row["autodiff"] == pytest.approx(row["differences"], rel=0.01)


def test_the_first_derivative_of_batch_normalisation_is_right(measured):
    assert close(measured["first"])


def test_the_second_derivative_is_wrong_on_tensorflow_alone(measured):
    assert close(measured["second"]) is not ON_TENSORFLOW


def test_the_page_says_what_is_measured_here(measured):
    told = upstream.LINE.findall(upstream.PAGE.read_text(encoding="utf-8"))
    for order, row in measured.items():
        numbers = next(numbers for backend, said, *numbers in told if (backend, said) == (row["backend"], order))
        assert list(map(float, numbers)) == pytest.approx([row["autodiff"], row["differences"]], rel=0.01)


def test_lines_are_recorded_for_every_backend():
    recorded = {(row["backend"], row["order"], row["moments"]) for row in upstream.read()}
    plain = {(backend, order, upstream.KERAS) for backend in upstream.BACKENDS for order in ("first", "second")}
    assert recorded == plain | {("tensorflow", order, upstream.PROPOSED) for order in ("first", "second")}
