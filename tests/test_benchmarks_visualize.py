"""The benchmark of activation maximisation gives both sides the same work, and compares what they reach."""

import numpy as np
import pytest

import benchmarks
from benchmarks import timing, visualize
from tlkeras.models import tominet
from tlkeras.reports.tominet import growth
from tlkeras.visualize import objectives as o
from tlkeras.visualize import prepare


@pytest.fixture
def calls(monkeypatch):
    """Few steps, few filters, and a peer that finds what we start from."""
    found = []
    for module in (visualize, growth):
        monkeypatch.setattr(module, "STEPS", 3)
    monkeypatch.setattr(visualize, "FILTERS_GROWTH", (16, 32))
    monkeypatch.setattr(visualize, "STEPS_GROWTH", (1, 2))

    def peer(model, *, batch):
        found.append(batch)
        return visualize.start(16)

    def compare(name, ours, peer, equal):
        return {"name": name, "ours": ours(), "peer": peer(), "ratio": 2.0, "unit": "s", "equal": equal}

    monkeypatch.setattr(visualize, "peer", peer)
    monkeypatch.setattr(timing, "compare", compare)
    return found


def test_every_row_has_its_peer_and_growth_has_none(calls):
    rows = benchmarks.run(["visualize"])
    assert all(set(row) == set(benchmarks.COLUMNS) for row in rows)
    assert [row["name"].rsplit(", ", 1)[-1] for row in rows[:4]] == ["tracing included", "traced before"] + [
        "peer batched"
    ] * 2
    assert calls == [1, 1, 16, 16, 16]
    fresh, again = rows[0]["ours"], rows[1]["ours"]
    np.testing.assert_array_equal(fresh.images, again.images)
    assert rows[4]["ours"] == 1.0  # three steps beat none for every filter
    assert [row["name"] for row in rows[5:]] == [
        "16 filters x 3 steps (filters grow)",
        "32 filters x 3 steps (filters grow)",
        "16 filters x 1 steps (steps grow)",
        "16 filters x 2 steps (steps grow)",
    ]
    assert all(row["peer"] is None and row["ours"] > 0 for row in rows[5:])


def test_the_peer_starts_where_we_do():
    model = tominet(10, weights="mnist")
    ours = prepare(model, o.channel("conv_2"))(steps=1)
    starts = visualize.responses(model, "conv_2", visualize.start(16))
    np.testing.assert_allclose(starts[range(16), range(16)], ours.before, rtol=1e-4, atol=1e-6)
