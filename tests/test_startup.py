"""The first import of TensorFlow is silent, and stderr works afterwards."""

import os
import subprocess
import sys

from tlkeras import startup

CODE = "import sys, tlkeras; tlkeras.quiet_start(); import tensorflow; print('after', file=sys.stderr)"


def test_quiet_start_prints_nothing_and_gives_stderr_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "after\n")


def test_cores_are_idle_only_where_an_operation_has_one_thread(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert startup.idle_cores() == 1
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    assert startup.idle_cores() == os.cpu_count()
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
    assert startup.idle_cores() == 3


def test_a_backend_that_is_not_installed_is_named():
    environment = {**os.environ, "KERAS_BACKEND": "no_such_backend"}
    command = [sys.executable, "-c", "import tlkeras"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.stderr.splitlines()[-1].endswith(
        "pip install no_such_backend, or unset KERAS_BACKEND. Received: KERAS_BACKEND=no_such_backend"
    )
    assert len(told.stderr.splitlines()) < 10
