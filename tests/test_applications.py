"""The slide's table, and one small network measured: what is counted is right, what is stored can be read again."""

import dataclasses
import json
import subprocess

import pytest

from tlkeras import startup
from tlkeras.reports.strategies import applications
from tlkeras.reports.strategies.applications import PUBLISHED

ROW = {
    "name": "VGG16",
    "size_mb": 527.8,
    "parameters": 138_357_544,
    "depth": 16,
    "input_side": 224,
    "batch_size": 32,
    "processor": "cpu",
    "step_ms": 200.0,
    "image_ms": 6.25,
    "peak_memory_mib": 2000.0,
}
OTHER = {**ROW, "name": "Xception", "parameters": 22_910_480, "depth": 81, "step_ms": 300.0}


def test_the_slide_has_eleven_rows():
    assert len(PUBLISHED) == 11
    assert dataclasses.astuple(PUBLISHED["ResNet50"]) == (98, 0.749, 0.921, 25.6, 107, 58.2, 4.6)
    assert dataclasses.astuple(PUBLISHED["InceptionResNetV2"]) == (215, 0.803, 0.953, 55.9, 449, 130.2, 10.0)
    for row in PUBLISHED.values():
        assert row.size == pytest.approx(4 * row.parameters * 1e6 / 2**20, rel=0.02)
        assert row.top1 < row.top5 < 1


def test_a_network_is_built_counted_and_timed():
    row = applications.measure("MobileNet", batch_size=2, steps=1, alpha=0.25, input_shape=(32, 32, 3), classes=10)
    assert set(row) == set(ROW)
    assert (row["parameters"], row["size_mb"], row["input_side"]) == (221_114, 0.8, 32)
    assert row["depth"] == 27 + 27 + 1  # convolutions, their normalisations, the last one
    assert row["step_ms"] > 0 and row["image_ms"] == pytest.approx(row["step_ms"] / 2, abs=0.01)


@pytest.mark.parametrize("options", [{"name": "AlexNet"}, {"name": "vgg16"}, {"name": "VGG16", "steps": 0}])
def test_what_cannot_be_measured_is_refused(options):
    with pytest.raises(ValueError, match=r"Expected one of Xception, .* Received: name="):
        applications.measure(**options)
    with pytest.raises(ValueError, match=r"Received: \['AlexNet'\]"):
        applications.measure_apart(["VGG16", "AlexNet"])


def test_ratios_are_to_vgg16_here_and_on_the_slide():
    first, second = applications.table([{**ROW, "extra": 1}, OTHER])
    assert (first["name"], first["ratio"], first["ratio_slide"]) == ("Xception", 1.5, 1.57)
    assert (first["step_ms_slide"], first["parameters"], first["top1"]) == (109.4, 22.9, 0.79)
    assert (second["name"], second["ratio"], second["ratio_slide"]) == ("VGG16", 1.0, 1.0)
    assert applications.table([OTHER])[0]["ratio"] is None
    (gpu,) = applications.table([{**ROW, "processor": "gpu"}])
    assert (gpu["step_ms_slide"], gpu["ratio"]) == (4.2, 1.0)


def test_each_network_has_its_process_and_its_row_is_stored_at_once(tmp_path, monkeypatch):
    path, commands = tmp_path / "rows.json", []

    def run(command, **options):
        commands.append(command[1:])
        name = command[-1]
        failed = name == "VGG19"
        return subprocess.CompletedProcess(command, failed, f"noise\n{json.dumps({**ROW, 'name': name})}\n", "killed")

    monkeypatch.setattr(applications.subprocess, "run", run)
    monkeypatch.setattr(applications.environment, "describe", lambda: {"date": "today", "device": "CPU, 2 cores"})
    with pytest.raises(RuntimeError, match=r"VGG19 to be measured\. Received: killed"):
        applications.measure_apart(["VGG16", "VGG19", "Xception"], path)
    assert [command[:3] for command in commands] == [["-m", "tlkeras.reports.strategies.applications", "--here"]] * 2
    (row,) = applications.load(path)
    assert (row["name"], row["date"], row["processor"], row["device"]) == ("VGG16", "today", "cpu", "CPU, 2 cores")
    assert applications.table([row])[0]["ratio"] == 1.0


def test_a_row_replaces_the_one_of_the_same_network_and_processor(tmp_path):
    path = tmp_path / "rows.json"
    assert applications.load(path) == []
    applications.store([ROW, OTHER], path)
    applications.store([{**ROW, "step_ms": 1.0}, {**ROW, "processor": "gpu"}], path)
    stored = [(row["name"], row["processor"], row["step_ms"]) for row in applications.load(path)]
    assert stored == [("VGG16", "cpu", 1.0), ("Xception", "cpu", 300.0), ("VGG16", "gpu", 200.0)]


def test_the_command_measures_here_or_apart(monkeypatch, capsys):
    monkeypatch.setattr(applications, "measure", lambda name: {"name": name})
    monkeypatch.setattr(startup, "quiet_start", lambda: None)
    applications.main(["--here", "VGG16"])
    assert json.loads(capsys.readouterr().out) == {"name": "VGG16"}
    monkeypatch.setattr(applications, "measure_apart", lambda names: [{**ROW, "name": name} for name in names])
    applications.main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PUBLISHED)
    assert lines[1] == "VGG16               138.4 M  depth  16      200.0 ms a step"
