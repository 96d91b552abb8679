"""The first import of TensorFlow is silent, and stderr works afterwards."""

import subprocess
import sys

CODE = "import sys, tlkeras; tlkeras.quiet_start(); import tensorflow; print('after', file=sys.stderr)"


def test_quiet_start_prints_nothing_and_gives_stderr_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "after\n")
