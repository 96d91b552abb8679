"""Where the runs of a study are computed: in this process, in several of this machine, or as tasks of a Ray cluster."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from traceback import format_exc
from typing import Any

Job = tuple[str, int]  # arm, seed
Compute = Callable[[Job], Any]  # the run of a job, see `runs.Run`; None where another process has it in hand
Execute = Callable[[Compute, Iterable[Job]], Iterator[tuple[Job, Any]]]
_STOP_SECONDS = 5


class ClusterError(RuntimeError):
    """There is no Ray, no cluster at the address, or runs failed in other processes; those that did not are stored.

    The tracebacks of the other processes are its notes (`__notes__`), which Python prints below its own traceback.
    """


def in_process(compute: Compute, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
    """Yield each job with its run, in the order of the jobs."""
    for job in jobs:
        yield job, compute(job)


def local(processes: int, *, retries: int = 2) -> Execute:
    """Return what computes jobs in processes of this machine, which share its cores, and its GPU if there is one.

    A process serves one job after the other. It ends with this one, however this one ends.

    Args:
        processes: how many.
        retries: of a job whose process dies. An exception of the run itself is not tried again.

    Raises:
        ValueError: fewer than one process.
        ClusterError: after all other jobs are done, if some failed.
    """
    if processes < 1:
        raise ValueError(f"Expected at least one process. Received: {processes}")

    def execute(compute: Compute, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        waiting, failures, deaths = deque(jobs), dict[str, str](), Counter[Job]()
        workers: dict[Connection, _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < processes:
                    worker = _Worker(compute, processes)
                    workers[worker.connection] = worker
                    worker.give(waiting.popleft())
                for connection in wait(list(workers)):
                    worker = workers[connection]  # type: ignore[index]  # it waits for connections alone
                    job = worker.job
                    try:
                        run, failure, traceback = worker.connection.recv()
                    except (EOFError, OSError):
                        del workers[worker.connection]
                        deaths[job] += 1
                        if deaths[job] <= retries:
                            waiting.appendleft(job)
                        else:
                            failures[f"{job[0]}, seed {job[1]}: its process died {deaths[job]} times"] = ""
                        continue
                    if waiting:
                        worker.give(waiting.popleft())
                    else:
                        del workers[worker.connection]
                        worker.stop()
                    if failure is None:
                        yield job, run
                    else:
                        failures[f"{job[0]}, seed {job[1]}: {failure}"] = traceback
        finally:
            for worker in workers.values():
                worker.stop()
        if failures:
            raise _failed(failures)

    return execute


class _Worker:
    """A process that computes one job after the other, seen from here."""

    def __init__(self, compute: Compute, processes: int) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, compute), daemon=True)
        with _environment(_share(processes)):
            self.process.start()
        theirs.close()
        self.job: Job = ("", 0)

    def give(self, job: Job) -> None:
        """Send a job; a process that is dead already shows when its answer is waited for."""
        self.job = job
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def stop(self) -> None:
        """End the process, and what it is about."""
        self.connection.close()
        self.process.terminate()
        self.process.join(_STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()


def _serve(connection: Connection, compute: Compute) -> None:
    """Answer each job with its run, or with what it failed of and the traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        run, failure, traceback = None, None, ""
        try:
            run = compute(job)
        except Exception as error:
            failure, traceback = f"{type(error).__name__}: {error}", format_exc()
        connection.send((run, failure, traceback))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _share(processes: int) -> dict[str, str]:
    """Return the environment of a process that has its share of the cores, and keeps quiet."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1"}
    return {**dict.fromkeys(names, threads), **quiet, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set, for the processes that are started meanwhile."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def on_ray(address: str | None = None, *, retries: int = 2) -> Execute:
    """Return what computes jobs as tasks of a Ray cluster, each in its own process, with a GPU if there is one.

    The package, the data and the weights must be there on every machine; results come back to this process, which
    stores them as they arrive, so an interrupted study goes on where it was.

    Args:
        address: of the cluster, or "auto"; None starts one on this machine.
        retries: of a task whose process or machine dies. An exception of the run itself is not tried again.

    Raises:
        ClusterError: Ray is not installed (`pip install "tlkeras[ray]"`), or the cluster is not reached; after all
            other jobs are done, if some failed.
    """

    def execute(compute: Compute, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        ray = _connected(address)
        gpus = min(1, ray.cluster_resources().get("GPU", 0))
        options = {"num_cpus": 1, "num_gpus": gpus, "max_calls": 1, "max_retries": retries}
        task = ray.remote(**options)(lambda job: compute(job))
        waiting, failures = {task.remote(job): job for job in jobs}, dict[str, str]()
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            try:
                run = ray.get(done)
            except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
                told = str(error).strip()  # Ray puts the traceback of the task before its last line
                failures[f"{job[0]}, seed {job[1]}: {told.splitlines()[-1]}"] = told
            else:
                yield job, run
        if failures:
            raise _failed(failures)

    return execute


def _failed(failures: Mapping[str, str]) -> ClusterError:
    """Return the error that names each failure; tracebacks are notes of it, and empty where there is none."""
    error = ClusterError(f"Expected every run to finish. Received: {'; '.join(failures)}")
    for failure, traceback in failures.items():
        if traceback:
            error.add_note(f"{failure}\n{traceback}")
    return error


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError as error:
        raise ClusterError('Expected Ray, pip install "tlkeras[ray]". Received: no module named ray') from error
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"Expected a Ray cluster. Received: address={address!r}, {error}") from error
    return ray
