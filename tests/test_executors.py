"""Executors: every job once; what fails in another process loses nothing, and is told. Ray is stood in for."""

import contextlib
import functools
import os
import sys
import time
import types

import pytest
import toy_report

from tlkeras.experiments import environment, executors, runs

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


def alive(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_processes_share_the_jobs_and_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    found = dict(executors.local(2)(toy_report.run_of, JOBS))
    assert {(run["arm"], run["seed"]) for run in found.values()} == set(JOBS) == set(found)
    assert {run["threads"] for run in found.values()} == {"3"} and "TF_NUM_INTRAOP_THREADS" not in os.environ
    assert os.getpid() not in {run["process"] for run in found.values()}
    assert not any(alive(run["process"]) for run in found.values())


def test_a_process_that_dies_costs_its_job_another_try(tmp_path):
    jobs = [("once", 0), ("always", 0), ("wrong", 1), ("good", 0)]
    results = executors.local(2, retries=1)(functools.partial(toy_report.dies_once, tmp_path), jobs)
    found = {next(results)[0], next(results)[0]}
    assert found == {("once", 0), ("good", 0)}
    with pytest.raises(executors.ClusterError, match="Received: ") as caught:
        next(results)
    told = str(caught.value).partition("Received: ")[2].split("; ")
    assert set(told) == {"always, seed 0: its process died 2 times", "wrong, seed 1: ValueError: no such thing"}
    (note,) = caught.value.__notes__
    assert note.startswith("wrong, seed 1: ValueError: no such thing\nTraceback ") and "in dies_once" in note


def test_processes_end_with_the_study(tmp_path):
    results = executors.local(2)(functools.partial(toy_report.waits, tmp_path), [("good", 0), ("wait", 0)])
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "wait", functools.partial(_interrupt, tmp_path))
        next(results)
    processes = [int(path.name) for path in tmp_path.iterdir()]
    assert len(processes) == 2 and not any(map(alive, processes))


def _interrupt(folder, connections):
    deadline = time.monotonic() + 30
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    raise KeyboardInterrupt


def test_fewer_than_one_process_is_refused():
    with pytest.raises(ValueError, match=r"at least one process\. Received: 0$"):
        executors.local(0)


def test_the_same_files_from_every_executor(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    toy, contents = toy_report.Elsewhere(), []
    for name, execute in {"here": executors.in_process, "local": executors.local(2)}.items():
        monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / name))
        found = runs.study(toy.report, seeds=3, execute=execute)
        assert found == runs.load_runs(toy.report, "smoke")
        paths = sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.json"))
        contents.append([(path, runs.read_run(tmp_path / name / path).metrics) for path in paths])
    assert contents[0] == contents[1] and len(contents[0]) == 6


def test_other_processes_have_the_profile_of_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path))
    report = toy_report.Elsewhere().report
    found = runs.study(report, "short", seeds=1, profile_name="paper", execute=executors.local(1))
    assert [run.details for run in found] == [{"profile": "paper"}] and os.environ["TLKERAS_PROFILE"] == "smoke"


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
    with pytest.raises(executors.ClusterError, match="Expected every run to finish") as caught:
        next(results)
    assert str(caught.value).endswith("Received: b, seed 0: the machine is gone")
    assert caught.value.__notes__ == ["b, seed 0: the machine is gone\nfirst line\nthe machine is gone"]


def test_no_cluster_and_no_ray_are_named(cluster, monkeypatch):
    with pytest.raises(executors.ClusterError, match="Received: address='nowhere', no cluster there$"):
        next(executors.on_ray("nowhere")(run_of, JOBS))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(executors.ClusterError, match=r"tlkeras\[ray\].*Received: no module named ray$"):
        next(executors.on_ray()(run_of, JOBS))
