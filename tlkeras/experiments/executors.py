"""Where the runs of a study are computed: in this process, one after the other, or as tasks of a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Job = tuple[str, int]  # arm, seed
Compute = Callable[[Job], Any]  # the run of a job, see `runs.Run`
Execute = Callable[[Compute, Iterable[Job]], Iterator[tuple[Job, Any]]]


class ClusterError(RuntimeError):
    """There is no Ray, no cluster at the address, or runs failed there; those that did not are stored."""


def in_process(compute: Compute, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
    """Yield each job with its run, in the order of the jobs."""
    for job in jobs:
        yield job, compute(job)


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
        waiting, failures = {task.remote(job): job for job in jobs}, []
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            try:
                run = ray.get(done)
            except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
                failures.append(f"{job[0]}, seed {job[1]}: {str(error).strip().splitlines()[-1]}")
            else:
                yield job, run
        if failures:
            raise ClusterError(f"Expected every run to finish. Received: {'; '.join(failures)}")

    return execute


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
