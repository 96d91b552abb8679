"""Each silent trap does what its page says, at a small size, and tlkeras catches it."""

import pytest
import traps as scripts

from tools import traps

IMAGES, TESTS = 100, 300
# What Keras mends by itself: nothing is lost there.
MENDED = ("frozen_base_in_training_mode", "softmax_twice")


@pytest.fixture(scope="module")
def digits():
    return scripts.world(IMAGES, TESTS, 0)


@pytest.mark.parametrize("name", scripts.TRAPS)
def test_the_trap_is_there(digits, name):
    (right, trapped), _ = scripts.shown(name, digits)
    print(name, right, trapped)


@pytest.mark.parametrize("name", scripts.TRAPS)
def test_tlkeras_catches_it(digits, name):
    scripts.TRAPS[name].caught(digits)
