"""All seeds of an arm by one call: stored like other runs, with what tables and claims read; nothing is run twice."""

import json

import jax
import numpy as np
import pytest

from tlkeras.experiments import runs
from tlkeras.experiments.report import Result
from tlkeras.l2t import NonFiniteLossError
from tlkeras.l2t import jax as engine
from tlkeras.reports.l2t import together
from tlkeras.reports.l2t.settings import REPORT
from tools import l2t_study

jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than computing


@pytest.fixture(autouse=True)
def store(monkeypatch, tmp_path):
    """A store of this test's own."""
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_an_arm_is_stored_with_its_device_and_engine_and_is_not_run_again(store, monkeypatch):
    found = runs.study_together(REPORT, "stl10_5_scratch", seeds=2, profile_name="smoke")
    assert [run.seed for run in found] == [0, 1]
    first = json.loads(next(store.rglob("0.json")).read_text())
    assert first["versions"]["jax"] == jax.__version__ and first["versions"]["tensorflow"] is None
    assert (first["details"]["engine"], first["details"]["precision"]) == ("jax", "float32")
    metrics = {"test_accuracy", "test_loss", "train_accuracy", "test_accuracy_recalibrated"}
    assert set(first["metrics"]) == metrics and np.isfinite(list(first["metrics"].values())).all()
    assert first["history"]["test_accuracy"] == [None, first["metrics"]["test_accuracy"]]
    monkeypatch.setattr(together, "run", None)
    assert runs.study_together(REPORT, "stl10_5_scratch", seeds=2, profile_name="smoke") == found
    assert runs.load_runs(REPORT, "smoke", ["stl10_5_scratch"]) == found


def test_a_lost_device_and_a_seed_that_diverged_cost_themselves_alone(monkeypatch, capsys):
    history = {name: [0.5, 0.25] for name in ("val_accuracy", "val_loss", "accuracy", "cross_entropy")}

    def lost(*arguments, **options):
        raise engine.DeviceError("gone", [history, NonFiniteLossError("NaN")])

    monkeypatch.setattr(engine, "study", lost)
    arm, found = REPORT.settings("stl10_5_scratch", "smoke"), []
    with pytest.raises(engine.DeviceError, match="gone"):
        found.extend(iter_into(found, together.run(arm, (3, 4, 5))))
    assert [seed for seed, _ in found] == [3] and isinstance(found[0][1], Result)
    assert found[0][1].metrics["test_accuracy"] == 0.25
    assert capsys.readouterr().out == "no run of seed 4: NaN\n"


def iter_into(kept, items):
    """Keep items as they come, though the last step raises."""
    for item in items:
        kept.append(item)
    return ()


def test_what_the_engine_does_not_know_is_refused_and_left_out():
    for arm in ("stl10_5_probe", "stl10_5_scratch_read"):
        with pytest.raises(ValueError, match=f"this engine trains.*Received: .'{arm}'"):
            runs.study_together(REPORT, ["stl10_5_scratch", arm], seeds=1, profile_name="smoke")


def test_arms_come_in_the_order_of_worth():
    order = l2t_study.order()
    assert order[:5] == [*(f"stl10_10_{method}" for method in ("scratch", "ufm", "ww", "www")), "stl10_5_scratch"]
    assert order[20] == "stl10_unbalanced_scratch" and len(order) == len(set(order)) == 43


def test_the_script_times_runs_and_begins_nothing_too_late(tmp_path, capsys):
    script = ["--no-oracle", "--profile", "smoke", "--seeds", "1", "--arm", "stl10_5_scratch"]
    assert l2t_study.main(script) == 0
    assert "stl10_5_scratch: 1 runs, accuracy 0." in capsys.readouterr().out
    assert l2t_study.main([*script, "--minutes", "0"]) == 0
    assert "not begun: stl10_5_scratch" in capsys.readouterr().out


def test_speed_is_measured_without_compiling(capsys):
    arm = REPORT.settings("stl10_5_scratch", "smoke")
    (row,) = l2t_study.speed(arm, (4,), (2,))
    assert row["iterations"] == pytest.approx(2 / row["seconds"]) and row["seconds"] < 5
