# ruff: noqa: F811 (fixtures of another module)
"""A Dask cluster of this machine: the same outputs, every outcome told, a worker killed in the middle."""

from __future__ import annotations

import builtins
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeEngine, load_fake, load_fatal, load_nothing, write_wav
from tests.test_cli_caption import Wat, engine, films, wat  # noqa: F401 (fixtures)
from wat_cli import cluster
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.cluster import _client, run_on_cluster
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import UsageError, WeightsMissing
from wat_cli.options import BatchOptions, ModelOptions, RunOptions
from wat_cli.parallel import DIED, Load

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """Three worker processes, which are started again when they die."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as local,
    ):
        yield local


@pytest.fixture
def weights(tmp_path: Path) -> ResolvedWeights:
    (tmp_path / "model.pt").write_bytes(b"weights")
    return ResolvedWeights(WeightFile("a", tmp_path / "model.pt", "a" * 64), None, None)


def jobs_in(folder: Path, count: int, poisoned: int | None = None) -> list[Job]:
    sources = [
        write_wav(folder / f"{n}.wav", 1.0 + n / 10, 0.1 + n / 20, 12345 if n == poisoned else None)
        for n in range(count)
    ]
    return [Job(source, Outputs(folder, source.stem)) for source in sources]


def on(workers: Any, **changes: Any) -> RunOptions:
    return RunOptions(batch=BatchOptions(scheduler=workers.scheduler_address, **changes))


class SlowEngine(FakeEngine):
    seconds = 0.3

    def hear(self, *arguments: Any, **rest: Any) -> Any:
        time.sleep(self.seconds)
        return super().hear(*arguments, **rest)


class SlowerEngine(SlowEngine):
    seconds = 1.5


def load_slow(weights: ResolvedWeights, options: ModelOptions) -> SlowEngine:
    return SlowEngine()


def load_slower(weights: ResolvedWeights, options: ModelOptions) -> SlowEngine:
    return SlowerEngine()


def comparable(job: Job) -> dict[str, Any]:
    document = json.loads(job.outputs.sidecar.read_text())
    return {key: value for key, value in document.items() if key not in ("timings", "checksum")} | {
        "source": document["source"] | {"mtime_ns": 0}
    }


def test_a_cluster_that_loses_a_worker_writes_what_one_process_writes(
    workers: Any, tmp_path: Path, weights: ResolvedWeights
) -> None:
    alone, there = jobs_in(tmp_path / "one", 12), jobs_in(tmp_path / "two", 12)
    setting = setting_of(RunOptions(), weights)
    list(run(alone, Captioner(setting, lambda: load_fake(weights, setting.options.model), Progress())))
    with distributed.Client(workers, set_as_default=False) as client:
        before = set(client.run(os.getpid).values())
        victim = next(iter(client.run(os.getpid).values()))
        killed: list[int] = []

        class Murderer(Progress):
            """Kills a worker when the second file is done."""

            def closed(self, outcome: Outcome) -> None:
                killed.append(victim)
                if len(killed) == 2:
                    os.kill(victim, signal.SIGKILL)

        outcomes = list(run_on_cluster(there, on(workers), weights, Murderer(), load_slow))
    assert sorted(outcome.source for outcome in outcomes) == [job.source for job in sorted(there, key=str)]
    assert {outcome.status for outcome in outcomes} <= {Status.WRITTEN, Status.SKIPPED}
    assert all(outcome.up_to_date for outcome in outcomes if outcome.status is Status.SKIPPED)
    assert len(before) == 3
    for one, two in zip(alone, there, strict=True):
        assert one.source.with_suffix(".srt").read_bytes() == two.source.with_suffix(".srt").read_bytes()
        assert comparable(one) == comparable(two)
    assert [path.name for path in (tmp_path / "two").iterdir() if path.name.startswith(".")] == []


def test_outcomes_come_before_their_bundle_ends(workers: Any, tmp_path: Path, weights: ResolvedWeights) -> None:
    """A bundle of four, of which the last cannot end before the first was told."""
    gate = tmp_path / "gate"

    class Opener(Progress):
        def closed(self, outcome: Outcome) -> None:
            gate.touch()

    jobs = jobs_in(tmp_path / "films", 4)
    options = RunOptions(
        model=ModelOptions(model_dir=tmp_path), batch=BatchOptions(scheduler=workers.scheduler_address, batch_size=1)
    )
    crew_workers = cluster.ClusterCrew.__init__

    def one_worker(self: Any, *arguments: Any) -> None:
        crew_workers(self, *arguments)
        self.workers = 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.ClusterCrew, "__init__", one_worker)
        outcomes = list(run_on_cluster(jobs, options, weights, Opener(), load_gated))
    assert [outcome.status for outcome in outcomes] == [Status.WRITTEN] * 4


class GatedEngine(FakeEngine):
    """Hears its first file at once, and all others once the gate is open."""

    gate: Path

    def hear(self, *arguments: Any, **rest: Any) -> Any:
        deadline = time.monotonic() + 20
        while self.heard and not self.gate.exists():
            assert time.monotonic() < deadline, "nobody was told of the first file"
            time.sleep(0.02)
        return super().hear(*arguments, **rest)


def load_gated(weights: ResolvedWeights, options: ModelOptions) -> GatedEngine:
    assert options.model_dir is not None
    gated = GatedEngine()
    gated.gate = options.model_dir / "gate"
    return gated


def test_a_file_that_kills_every_worker_fails_alone(workers: Any, tmp_path: Path, weights: ResolvedWeights) -> None:
    jobs = jobs_in(tmp_path, 6, poisoned=1)
    outcomes = {
        o.source.name: o for o in run_on_cluster(jobs, on(workers, batch_size=2), weights, Progress(), load_fatal)
    }
    assert len(outcomes) == 6
    assert outcomes.pop("1.wav").reason == DIED
    assert {outcome.status for outcome in outcomes.values()} <= {Status.WRITTEN, Status.SKIPPED}
    assert all(job.outputs.sidecar.exists() for job in jobs if job.source.name != "1.wav")


def test_what_ends_late_takes_nothing_from_those_who_come_after(
    workers: Any, tmp_path: Path, weights: ResolvedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib ends with an error when all was told and the rest was taken back; the next bundles are at work by then."""
    ended = []

    class Late(cluster.joblib.Parallel):  # type: ignore[misc,name-defined]
        def __call__(self, tasks: Any) -> Any:
            try:
                super().__call__(tasks)
            finally:
                time.sleep(0.5)
                ended.append(self)
            raise RuntimeError("the rest was taken back")

    first, second = jobs_in(tmp_path, 2)
    with distributed.Client(workers, set_as_default=False) as client:
        crew = cluster.ClusterCrew(client, workers.scheduler_address, on(workers), weights, load_slower)
        with monkeypatch.context() as patch:
            patch.setattr(cluster.joblib, "Parallel", Late)
            told = list(crew.follow([(first,)]))
        assert not ended
        told += list(crew.follow([(second,)]))
    assert ended
    outcomes = [one for one in told if isinstance(one, Outcome)]
    assert [one.source for one in outcomes if one.status is Status.WRITTEN] == [first.source, second.source]


def test_what_nobody_has_begun_is_taken_back_though_the_others_go_on_telling(
    workers: Any, weights: ResolvedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back: list[bool] = []
    ends = threading.Event()
    driving = threading.Thread(target=ends.wait)
    driving.start()
    with distributed.Client(workers, set_as_default=False) as client:
        crew = cluster.ClusterCrew(client, workers.scheduler_address, on(workers), weights)
        monkeypatch.setattr(crew, "kill", lambda: taken_back.append(True))
        for _ in range(2):
            crew._events.put({})
        heard = crew._heard(driving, [RuntimeError()])
        next(heard)
        assert not taken_back
        ends.set()
        driving.join()
        next(heard)
        assert taken_back


@pytest.mark.parametrize(("load", "error"), [(load_nothing, WeightsMissing)])
def test_what_ends_a_run_ends_it_from_a_worker_too(
    workers: Any, tmp_path: Path, weights: ResolvedWeights, load: Load, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(run_on_cluster(jobs_in(tmp_path, 3), on(workers), weights, Progress(), load))


def test_folders_that_a_worker_does_not_see_end_the_run(workers: Any, tmp_path: Path, weights: ResolvedWeights) -> None:
    jobs = [Job(tmp_path / "gone" / "a.wav", Outputs(tmp_path / "gone", "a"))]
    with pytest.raises(UsageError, match="gone is not there on"):
        list(run_on_cluster(jobs, on(workers), weights, Progress(), load_fake))


def test_weights_that_lie_elsewhere_are_found_or_named(workers: Any, tmp_path: Path, weights: ResolvedWeights) -> None:
    weights.asr.path.unlink()
    options = on(workers)
    with pytest.raises(WeightsMissing, match=r"on .*: "):
        offline = RunOptions(batch=options.batch, model=ModelOptions(offline=True, model_dir=tmp_path / "empty"))
        list(run_on_cluster(jobs_in(tmp_path, 2), offline, weights, Progress(), load_fake))


def test_names_stay_as_they_were_given(
    workers: Any, tmp_path: Path, weights: ResolvedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = jobs_in(Path("films"), 2)
    outcomes = list(run_on_cluster(jobs, on(workers), weights, Progress(), load_fake))
    assert {str(outcome.source) for outcome in outcomes} == {"films/0.wav", "films/1.wav"}
    assert {str(path.parent) for outcome in outcomes for path in outcome.outputs} == {"films"}


def test_an_interrupt_leaves_what_was_not_begun(workers: Any, tmp_path: Path, weights: ResolvedWeights) -> None:
    jobs = jobs_in(tmp_path, 60)

    class Impatient(Progress):
        def closed(self, outcome: Outcome) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_on_cluster(jobs, on(workers), weights, Impatient(), load_slow))
    with distributed.Client(workers, set_as_default=False) as client:
        deadline = time.monotonic() + 20
        while any(state["executing"] for state in _executing(client)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert 1 <= sum(job.outputs.sidecar.exists() for job in jobs) < 60


def _executing(client: Any) -> list[dict[str, int]]:
    return [{"executing": count} for count in client.run(lambda dask_worker: len(dask_worker.state.executing)).values()]


# --- from the command line --------------------------------------------------------------------------------------------


def test_a_message_that_meets_a_closed_connection_is_not_told(workers: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Least of all with a traceback; one may be on its way when the last file is done."""

    async def closed(*arguments: Any, **rest: Any) -> int:
        raise distributed.comm.CommClosedError

    with _client(workers.scheduler_address) as client:
        sender = client.scheduler_comm
        sender.comm.write = closed
        client.loop.add_callback(sender.send, {"op": "heartbeat-client"})
        deadline = time.monotonic() + 20
        while not sender.closed() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sender.closed()
    # that the client connects again, and is closed meanwhile, is the test's doing, and may be told
    assert [record for record in caplog.records if record.name == "distributed.batched"] == []


def test_without_dask_the_way_out_is_told(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def absent(name: str, *arguments: Any, **rest: Any) -> Any:
        if name == "distributed":
            raise ImportError(name)
        return there(name, *arguments, **rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    result = wat("caption", films, "--scheduler", "tcp://127.0.0.1:1")
    assert result.code == 3
    assert "pip install 'wat-cli[dask]'" in result.err


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://", "127.0.0.1"])
def test_a_scheduler_that_does_not_answer_ends_with_2(
    wat: Wat,
    films: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    result = wat("caption", films, "--scheduler", address)
    assert result.code == 2
    assert f"--scheduler {address}: no Dask scheduler answers there" in result.err


def test_a_cluster_without_workers_ends_with_2(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=logging.CRITICAL) as empty:
        result = wat("caption", films, "--scheduler", empty.scheduler_address)
    assert result.code == 2
    assert "has no workers" in result.err


@pytest.mark.parametrize("more", [("--jobs", "2"), ("--device", "cpu,cpu"), ("--device", "all")])
def test_what_does_not_go_together_is_said(wat: Wat, films: Path, more: tuple[str, str]) -> None:
    result = wat("caption", films, "--scheduler", "tcp://127.0.0.1:1", *more)
    assert result.code == 2 and "--scheduler" in result.err
