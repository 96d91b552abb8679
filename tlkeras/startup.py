"""Import the backend of Keras without its start-up lines, for notebooks."""

import importlib
import os


def quiet_start(threads_per_operation: int | None = None) -> None:
    """Import the backend of Keras while file descriptor 2 points nowhere; call it first in a notebook.

    TF_CPP_MIN_LOG_LEVEL hides only some of the native lines (TensorFlow 2.21). An error of the import itself is
    raised as always. It sets that variable, unless you did, and changes nothing else.

    Args:
        threads_per_operation: cores that one operation may use; None leaves it to TensorFlow. On a CPU, small maps
            train up to 1.7 times as fast with 1, which leaves the other cores to operations that do not wait for each
            other. It only counts before TensorFlow has computed anything.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if threads_per_operation is not None:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads_per_operation))
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module(os.environ.get("KERAS_BACKEND") or "tensorflow")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def idle_cores() -> int:
    """Return how many operations can run side by side while each has one thread; 1 where an operation takes them all.

    Read from TF_NUM_INTRAOP_THREADS, which `quiet_start` sets, and TF_NUM_INTEROP_THREADS.
    """
    if os.environ.get("TF_NUM_INTRAOP_THREADS") != "1":
        return 1
    return int(os.environ.get("TF_NUM_INTEROP_THREADS") or 0) or os.cpu_count() or 1
