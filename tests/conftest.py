"""The tests' own world: a cache of their own, embedded data only, no windows, no start-up lines."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before the first import of these libraries, which read them once.
os.environ["MPLBACKEND"] = "agg"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


@pytest.fixture(scope="session", autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point tlkeras at an empty cache and at embedded data; a test that needs otherwise says so with `monkeypatch`."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLKERAS_HOME", str(home))
        patch.setenv("TLKERAS_PROFILE", "smoke")
        for name in ("TLKERAS_RESULTS", "TLKERAS_OFFLINE", "TLKERAS_TRACEBACK"):
            patch.delenv(name, raising=False)
        yield home


# Files that take longest, which start first where files run side by side: a long one at the end would run alone.
LONGEST = (
    *("06_learning_to_transfer", "01_tominet", "05_alexnet", "test_benchmarks_squeezenet", "03_squeezenet"),
    *("04_strategies", "02_filter", "test_report_l2t", "test_l2t_algorithm", "test_report_strategies"),
)


@pytest.fixture(scope="session")
def gpu() -> None:
    """Fail where TensorFlow sees no GPU: a test that was asked for and skipped would prove nothing."""
    import tensorflow as tf  # late: many tests need none

    if not tf.config.list_physical_devices("GPU"):
        pytest.fail("Expected a GPU that TensorFlow sees, since -m gpu was asked for. Received: none")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests for a GPU unless `-m` names them; bring the files that take longest to the front."""
    if "gpu" not in config.getoption("markexpr"):
        items[:] = [item for item in items if item.get_closest_marker("gpu") is None]
    ranks = {name: rank for rank, name in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> int:
        return next((rank for name, rank in ranks.items() if item.path.name.startswith(name)), len(LONGEST))

    items.sort(key=rank)
