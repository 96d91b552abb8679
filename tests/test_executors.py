"""Executors: every job once; what fails on a cluster loses nothing, and is told. Ray is stood in for."""

import sys
import types

import pytest

from tlkeras.experiments import executors

JOBS = [("a", 0), ("b", 0), ("a", 1)]


class DiedError(Exception):
    """A task's process is gone."""


class Cluster:
    """What of Ray's interface is used, computed at once and handed out last first."""

    exceptions = types.SimpleNamespace(RayError=DiedError)

    def __init__(self, gpus=0):
        self.gpus, self.options, self.address = gpus, None, None

    def init(self, address, **options):
        if address == "nowhere":
            raise ConnectionError("no cluster there")
        self.address = address

    def cluster_resources(self):
        return {"GPU": self.gpus} if self.gpus else {}

    def remote(self, **options):
        self.options = options
        return lambda function: types.SimpleNamespace(remote=lambda job: (function, job))

    def wait(self, references, num_returns):
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference):
        function, job = reference
        return function(job)


@pytest.fixture
def cluster(monkeypatch):
    found = Cluster()
    monkeypatch.setitem(sys.modules, "ray", found)
    return found


def run_of(job):
    return {"arm": job[0], "seed": job[1]}


def test_in_process_keeps_the_order_and_waits_for_nothing():
    started = []
    results = executors.in_process(lambda job: started.append(job) or run_of(job), JOBS)
    assert next(results) == (("a", 0), {"arm": "a", "seed": 0}) and started == JOBS[:1]
    assert [job for job, _ in results] == JOBS[1:]


def test_a_cluster_gets_every_job_once(cluster):
    found = list(executors.on_ray("auto", retries=5)(run_of, JOBS))
    assert sorted(job for job, _ in found) == sorted(JOBS) and all(run == run_of(job) for job, run in found)
    assert cluster.address == "auto"
    assert cluster.options == {"num_cpus": 1, "num_gpus": 0, "max_calls": 1, "max_retries": 5}


def test_a_task_asks_for_one_gpu_where_there_are_some(cluster):
    cluster.gpus = 4.0
    assert len(list(executors.on_ray()(run_of, JOBS))) == 3
    assert cluster.options["num_gpus"] == 1


def test_a_failure_loses_no_other_run_and_is_told(cluster):
    def compute(job):
        if job == ("b", 0):
            raise DiedError("first line\nthe machine is gone")
        return run_of(job)

    results = executors.on_ray()(compute, JOBS)
    assert {next(results)[0], next(results)[0]} == {("a", 0), ("a", 1)}
    with pytest.raises(executors.ClusterError, match=r"Received: b, seed 0: the machine is gone$"):
        next(results)


def test_no_cluster_and_no_ray_are_named(cluster, monkeypatch):
    with pytest.raises(executors.ClusterError, match="Received: address='nowhere', no cluster there$"):
        next(executors.on_ray("nowhere")(run_of, JOBS))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(executors.ClusterError, match=r"tlkeras\[ray\].*Received: no module named ray$"):
        next(executors.on_ray()(run_of, JOBS))
