"""The benchmark of report 003 has a row for each method and step, and each side says where its numbers are from."""

import pytest
from l2t_helpers import PAIRS, networks

import benchmarks
from benchmarks import l2t
from tlkeras.l2t import LearningToTransfer


def test_a_row_for_each_method_each_step_and_the_memory(monkeypatch):
    made = []
    costs = {("scratch", 2): 1.0, ("ufm", 2): 2.0, ("ww", 2): 12.0, ("www", 2): 13.0, ("ww", 1): 7.0, ("ww", 0): 5.0}

    def learner(method, settings=None):
        made.append((method, settings.lookahead if settings else 2))
        return made[-1]

    monkeypatch.setattr(l2t, "learner", learner)
    monkeypatch.setattr(l2t, "measure", lambda found: costs[found])
    monkeypatch.setattr(l2t, "peer", lambda found: (24.0, "peer: PyTorch"))
    monkeypatch.setattr(l2t, "_peak", lambda method: 1000.0)
    monkeypatch.setattr(l2t, "_source_features", lambda: 0.25)
    rows = {row["name"]: row for row in l2t.rows()}
    assert all(set(row) == set(benchmarks.COLUMNS) for row in rows.values())
    assert [rows["iteration, ww"][key] for key in ("ours", "peer", "ratio")] == [12, 24, 2]
    assert rows["www over ufm"]["ours"] == 6.5
    assert [row["ours"] for name, row in rows.items() if name.startswith("step")] == [0.25, 2, 3, 2, 5, 1]
    assert [row["unit"] for name, row in rows.items() if name.startswith("peak")] == ["MiB"] * 3
    assert "; peer: PyTorch; the official code once took 0.57 s" in rows["iteration, ufm"]["equal"]


def test_without_pytorch_there_is_no_peer(monkeypatch):
    monkeypatch.setattr(l2t.importlib.util, "find_spec", lambda name: None)
    assert l2t.peer(None) == (None, "PyTorch is not installed (extra: bench)")


def test_an_iteration_is_timed_after_its_tracing(monkeypatch):
    monkeypatch.setattr(l2t, "BATCH", 6)
    small = LearningToTransfer(*networks(), PAIRS, what=False, where=False)
    assert 0 < l2t.measure(small, repeats=2) < 5
    assert int(small.learner.steps) == 3


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r"a method out of \['scratch', 'ufm', 'ww', 'www'\]\. Received: 'wwww'$"):
        l2t.learner("wwww")
