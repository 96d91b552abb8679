"""Ctrl-C in a notebook's cell: the kernel and the store can be used, and the study goes on."""

import json
import time

import pytest
from jupyter_client.manager import start_new_kernel

from tlkeras.experiments.environment import REPOSITORY

SECONDS = 60
PREPARE = f"""
import os, sys, time
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import toy_report
from tlkeras.experiments import environment, executors, runs
toy = toy_report.Elsewhere()
toy.__setstate__({{}})
def study(execute):
    return len(runs.study(toy.report, seeds=40, profile_name="paper", execute=execute))
"""
WAYS = {"in_process": "executors.in_process", "local": "executors.local(2)"}


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    manager, client = start_new_kernel(cwd=str(REPOSITORY))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code):
    """Run a cell; return its value, or the name of its error, or "aborted"."""
    found = []
    answer = client.execute_interactive(code, timeout=SECONDS, output_hook=found.append)["content"]
    values = [message["content"]["data"]["text/plain"] for message in found if message["msg_type"] == "execute_result"]
    if answer["status"] == "ok":
        return values[0] if values else None
    return answer.get("ename", answer["status"])


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_cell_leaves_a_usable_kernel_and_store(kernel, tmp_path, way):
    manager, client = kernel
    assert run(client, PREPARE) is None
    # With stop_on_error, IPython would refuse the cell that comes right after the error.
    client.execute(f"study({WAYS[way]})", stop_on_error=False)
    deadline = time.monotonic() + SECONDS
    while not (stored := list(tmp_path.glob("results/toy/*/*/*.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    manager.interrupt_kernel()
    assert client.get_shell_msg(timeout=SECONDS)["content"]["ename"] == "KeyboardInterrupt"
    stored = list(tmp_path.glob("results/toy/*/*/*.json"))
    assert 0 < len(stored) < 80 and all(json.loads(path.read_text())["metrics"] for path in stored)
    assert run(client, "1 + 1") == "2"
    assert run(client, "study(executors.in_process)") == "80"
    assert len(list(tmp_path.glob("results/toy/**/*.json"))) == len(list(tmp_path.glob("results/**/[!.]*.json"))) == 80
