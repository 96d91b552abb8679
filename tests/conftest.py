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
        for name in ("TLKERAS_RESULTS", "TLKERAS_OFFLINE"):
            patch.delenv(name, raising=False)
        yield home
