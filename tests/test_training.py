"""training(): what a run tells of its steps, epochs and values, where its time went, and how it ended."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from processes import BIN
from sink import attributes

from otel_llmon import jobs, phase, telemetry, training

RUN = {"llmon.pipeline": "finetune", "llmon.model": "tiny"}
TRAIN = {**RUN, "llmon.split": "train"}
VALIDATION = {**RUN, "llmon.split": "validation"}


@pytest.fixture
def run(recorder, clock):
    """A run that goes on."""
    with training("finetune", model="tiny") as run:
        yield run


def spent(recorder):
    """Seconds by kind."""
    points = recorder.points().get("llmon.training.time", [])
    return {point.attributes["llmon.kind"]: point.value for point in points}


def ended(recorder):
    """How many runs ended, by how; none that never happened."""
    points = recorder.points().get("llmon.training.jobs", [])
    return {point.attributes["llmon.outcome"]: point.value for point in points if point.value}


def told(recorder, name):
    """The attributes of the events of this name."""
    return [dict(record.attributes) for record in recorder.logs() if record.event_name == name]


def test_a_step_adds_to_counters_and_sets_gauges(recorder, run):
    """Each part of the data has its own."""
    run.step(loss=2.5, lr=1e-3, samples=8, tokens=512, grad_norm=0.5, accuracy=0.25)
    run.step(loss=1.5, lr=5e-4, samples=8, tokens=500)
    run.step(loss=1.75, samples=4, split="validation")
    values = {
        ("steps", "train"): 2,
        ("samples", "train"): 16,
        ("tokens", "train"): 1012,
        ("loss", "train"): 1.5,
        ("accuracy", "train"): 0.25,
        ("steps", "validation"): 1,
        ("samples", "validation"): 4,
        ("loss", "validation"): 1.75,
    }
    found = {
        (what, split): recorder.value(f"llmon.training.{what}", {**RUN, "llmon.split": split}) for what, split in values
    }
    assert found == values
    assert recorder.value("llmon.training.learning_rate", RUN) == 5e-4
    assert recorder.value("llmon.training.gradient_norm", RUN) == 0.5
    assert run.steps == 2


@pytest.mark.parametrize("how", [np.float32, np.float64, np.array])
def test_scalars_of_libraries_are_numbers(recorder, run, how):
    """As losses come out of them."""
    run.step(loss=how(0.5), lr=how(0.25), samples=np.int64(3))
    assert recorder.value("llmon.training.loss", TRAIN) == 0.5
    assert recorder.value("llmon.training.samples", TRAIN) == 3


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400])
def test_a_loss_that_is_no_finite_number_is_counted_and_ends_the_gauge(recorder, run, loss):
    """Going on with the last good one would say that all is well; it comes back with the next number."""
    run.step(loss=0.5)
    run.step(loss=loss)
    assert recorder.value("llmon.training.not_finite", {**TRAIN, "llmon.quantity": "loss"}) == 1
    assert recorder.value("llmon.training.loss", TRAIN) is None
    run.step(loss=0.25)
    assert recorder.value("llmon.training.loss", TRAIN) == 0.25


def test_the_first_loss_that_is_no_number_is_an_event(recorder, run):
    """Once in a run; a gradient that overflows is everyday life in mixed precision and only counted."""
    run.step(loss=1.0, grad_norm=math.inf)
    run.step(loss=math.nan)
    run.step(loss=math.nan)
    [diverged] = told(recorder, "training.diverged")
    assert diverged == {"run": "finetune", "model": "tiny", "step": 2, "split": "train", "loss": "nan"}
    assert recorder.value("llmon.training.not_finite", {**TRAIN, "llmon.quantity": "loss"}) == 2
    assert recorder.value("llmon.training.not_finite", {**TRAIN, "llmon.quantity": "gradient_norm"}) == 1


@pytest.mark.parametrize("junk", ["two", object(), True, [1, 2]])
def test_what_is_no_number_is_refused_and_told(recorder, run, junk, caplog):
    """It says which metric got what, and the rest of the step counts."""
    run.step(loss=junk, lr=0.5, samples=junk)
    assert recorder.value("llmon.training.steps", TRAIN) == 1
    assert recorder.value("llmon.training.loss", TRAIN) is None
    assert recorder.value("llmon.training.learning_rate", RUN) == 0.5
    assert "llmon.training.loss: found a" in caplog.text


@pytest.mark.parametrize("given", [(3,), (None,), (["a"],), ("finetune", 3), ("finetune", object())])
def test_a_name_that_is_no_text_is_an_error_at_the_call(given):
    """A model itself is not its name."""
    with pytest.raises(TypeError, match=r"training: (name|model) is a .*, expected text"):
        training(*given)


@pytest.mark.parametrize("split", [3, None, ["a"]])
def test_a_part_of_the_data_that_is_no_text_is_told(recorder, run, split, caplog):
    """A run of days does not end for that: the step counts, and one line says as what."""
    run.step(split=split)
    run.step(split=split)
    assert recorder.value("llmon.training.steps", {**RUN, "llmon.split": str(split)}) == 2
    assert [record.message for record in caplog.records] == [
        f"training 'finetune': split is a {type(split).__name__}, expected text; it counts as {str(split)!r}"
    ]


class Tensor:
    """As torch's on a GPU: to read it is to wait, and the next step may write into it."""

    def __init__(self, value, reads):
        self.value, self.reads = value, reads
        self.device = type("device", (), {"type": "cuda"})()

    def detach(self):
        return self

    def clone(self):
        return Tensor(self.value, self.reads)

    def item(self):
        self.reads.append(self.value)
        return self.value


def test_values_on_a_gpu_are_read_together_and_none_is_missed(recorder, clock, run):
    """Each read waits for the GPU; they are read after 64, after a second, at an epoch's end and at the run's."""
    reads = []
    loss = Tensor(math.nan, reads)
    run.step(loss=loss)
    loss.value = 1.0
    for number in range(62):
        run.step(loss=Tensor(float(number), reads))
    assert not reads
    run.step(loss=Tensor(62.0, reads))
    assert len(reads) == 64
    assert recorder.value("llmon.training.not_finite", {**TRAIN, "llmon.quantity": "loss"}) == 1
    run.step(loss=Tensor(7.0, reads))
    clock.now += 1
    run.step(loss=Tensor(8.0, reads))
    assert recorder.value("llmon.training.loss", TRAIN) == 8
    with run.epoch():
        run.step(loss=Tensor(9.0, reads))
    assert told(recorder, "training.epoch")[0]["loss"] == 9


def test_an_epoch_is_a_span_and_an_event(recorder, clock, run):
    """With what it came to, and what it went through."""
    for number in range(3):
        with run.epoch():
            for _ in range(4):
                clock.now += 0.5
                run.step(loss=3.0 - number, lr=0.1, accuracy=0.5, samples=8, tokens=100)
    common = {"run": "finetune", "model": "tiny", "split": "train", "duration": 2, "accuracy": 0.5}
    common |= {"learning_rate": 0.1, "samples": 32, "tokens": 400}
    assert told(recorder, "training.epoch") == [
        common | {"epoch": number + 1, "step": 4 * (number + 1), "loss": 3.0 - number} for number in range(3)
    ]
    spans = [span for span in recorder.finished if span.name == "epoch"]
    assert [span.attributes["llmon.epoch"] for span in spans] == [1, 2, 3]
    assert [span.attributes["llmon.training.loss"] for span in spans] == [3, 2, 1]
    ids = {span.context.span_id for span in spans}
    assert {record.span_id for record in recorder.logs() if record.event_name == "training.epoch"} == ids


def test_an_epoch_tells_of_no_tokens_that_nobody_counted(recorder, run):
    """Nor of samples: 0 would be a claim."""
    with run.epoch():
        run.step(loss=1.0, samples=8)
    with run.epoch():
        run.step(loss=1.0, tokens=100)
    first, second = ({"samples", "tokens"} & it.keys() for it in told(recorder, "training.epoch"))
    assert (first, second) == ({"samples"}, {"tokens"})


def test_an_epoch_tells_of_its_own_run(recorder):
    """Whatever else runs under its name at the same time."""
    with training("finetune") as one, training("finetune") as other:
        for _ in range(2):
            with one.epoch():
                one.step(samples=5, tokens=np.int64(50))
                with other.epoch():
                    other.step(samples=7)
                    one.step(samples=100, split="validation")
                one.step(samples=-1)
    found = [(it.get("samples"), it.get("tokens")) for it in told(recorder, "training.epoch")]
    assert found == [(7, None), (5, 50)] * 2


def test_a_thousand_epochs_are_one_series(recorder, run):
    """The epoch is a value."""
    for number in range(1000):
        with run.epoch(number):
            run.step(loss=1 / (number + 1))
    points = recorder.points()
    assert [point.value for point in points["llmon.training.epoch"]] == [999]
    assert [point.value for point in points["llmon.training.loss"]] == [0.001]


def test_an_epoch_tells_of_each_part_of_the_data(recorder, run):
    """One event for each, that which trains first."""
    with run.epoch():
        run.measure(loss=0.5, split="validation")
        run.step(loss=1.0)
    assert [(it["split"], it["loss"]) for it in told(recorder, "training.epoch")] == [("train", 1), ("validation", 0.5)]


def test_an_epoch_that_fails_is_a_failed_span_and_no_event(recorder):
    """It did not end."""
    with pytest.raises(ValueError, match="no"), training("finetune") as run, run.epoch():
        raise ValueError("no")
    assert not told(recorder, "training.epoch")
    assert recorder.spans()["epoch"].attributes["error.type"] == "ValueError"


def test_an_epoch_that_is_open_when_its_run_fails_fails_with_it(recorder):
    """As with a callback: nobody calls it after an exception."""

    def train():
        with training("finetune") as run:
            run.epoch().__enter__()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        train()
    assert recorder.spans()["epoch"].attributes["error.type"] == "ValueError"
    assert recorder.spans()["epoch"].parent.span_id == recorder.spans()["finetune"].context.span_id
    assert not told(recorder, "training.epoch")


def test_an_epoch_that_begins_in_another_ends_that_one(recorder, run, caplog):
    """A callback may have been left out."""
    first = run.epoch()
    first.__enter__()
    with run.epoch():
        pass
    first.__exit__(None, None, None)
    assert [it["epoch"] for it in told(recorder, "training.epoch")] == [1, 2]
    assert "begins in another one" in caplog.text


def test_an_epoch_s_number_is_a_number(recorder, run, caplog):
    """Whatever else is given, it is the next one."""
    with run.epoch(7), run.epoch("eight"):
        pass
    assert run.epoch_number == 8
    assert "expected a number" in caplog.text


def test_time_is_what_it_went_into(recorder, clock):
    """Up to the first step it is setup; between steps productive; before a checkpoint or an evaluation theirs."""
    with training("finetune") as run:
        clock.now += 10  # data is loaded
        with run.epoch():
            for _ in range(5):
                clock.now += 2
                run.step()
            clock.now += 3
            run.measure(loss=1.0, split="validation")
            clock.now += 4
            run.checkpoint("last.pt")
            clock.now += 1
        clock.now += 0.5
    assert spent(recorder) == {"setup": 10, "productive": 10, "evaluation": 3, "checkpoint": 4, "other": 1.5}


def test_without_epochs_the_first_step_is_setup(recorder, clock):
    """Nobody knows when it began, and it often compiles."""
    with training("finetune") as run:
        for _ in range(3):
            clock.now += 2
            run.step()
    assert spent(recorder) == {"setup": 2, "productive": 4}


def test_who_says_what_is_productive_is_believed(recorder, clock):
    """All else is not, though steps end there."""
    with training("finetune") as run:
        for _ in range(3):
            clock.now += 5  # waits for data
            with run.productive():
                clock.now += 1
                with run.productive():
                    clock.now += 1
                clock.now += 1
            run.step()
        clock.now += 2
        run.step(split="validation")
    assert spent(recorder) == {"setup": 5, "productive": 9, "other": 10, "evaluation": 2}


def test_the_kinds_of_time_add_up_to_the_run(recorder, clock):
    """Whatever is called, in any order."""
    with training("finetune") as run:
        for number, call in enumerate(
            [run.step, run.checkpoint, lambda: run.step(split="test"), run.measure, lambda: run.epoch().__enter__()] * 7
        ):
            clock.now += number
            call()
        clock.now += 1
    assert sum(spent(recorder).values()) == clock.now


def test_the_kinds_of_time_add_up_whichever_thread_is_faster(recorder, clock):
    """One may look at the clock, and come to cut when another has cut later already."""

    def overtaken():
        now = clock.now
        telemetry.state.clock = clock
        clock.now += 5
        run.step()
        return now

    with training("finetune") as run:
        clock.now += 1
        run.step()
        for _ in range(3):
            clock.now += 1
            telemetry.state.clock = overtaken
            run.step()
        clock.now += 1
    assert spent(recorder) == {"setup": 1, "productive": 18, "other": 1}


def test_a_checkpoint_is_counted_and_told(recorder, clock, run, tmp_path):
    """With its path, the step, the loss and how long it took."""
    run.step(loss=0.5)
    clock.now += 3
    run.checkpoint(tmp_path / "a.pt")
    run.checkpoint(step=70)
    assert recorder.value("llmon.training.checkpoints", RUN) == 2
    first, second = told(recorder, "checkpoint.saved")
    common = {"run": "finetune", "model": "tiny", "loss": 0.5}
    assert first == common | {"step": 1, "duration": 3, "path": str(tmp_path / "a.pt")}
    assert second == common | {"step": 70, "duration": 0}


def test_a_run_is_a_pipeline(recorder, clock):
    """Its phases are in its report, and carry its name."""
    with training("finetune", attributes={"seed": 7}) as run:
        with phase("load"):
            clock.now += 2
        run.count("documents", 3)
        run.set({"device": "cpu"})
    assert run.report().slowest == "load"
    assert recorder.spans()["load"].attributes["llmon.pipeline"] == "finetune"
    assert dict(recorder.spans()["finetune"].attributes) == {
        "llmon.pipeline": "finetune",
        "llmon.items.documents": 3,
        "seed": 7,
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (None, "success"),
        (ValueError("no"), "failure"),
        (KeyboardInterrupt(), "cancellation"),
        (SystemExit(0), "success"),
    ],
)
def test_how_a_run_ended_is_counted_and_told(recorder, error, how):
    """And what the caller raised passes unchanged."""
    caught = None
    try:
        with training("finetune"):
            if error is not None:
                raise error
    except BaseException as exc:
        caught = exc
    assert caught is error
    assert ended(recorder) == {how: 1}
    assert len(told(recorder, "training.finished" if how == "success" else "training.failed")) == 1


def test_a_run_that_has_not_failed_has_a_zero(recorder, run):
    """So that a rule sees the first failure as a change."""
    assert recorder.value("llmon.training.jobs", {**RUN, "llmon.outcome": "failure"}) == 0


def test_what_comes_outside_of_the_run_is_told_and_left_out(recorder, caplog):
    """There is no run that it could belong to."""
    run = training("finetune", model="tiny")
    run.step(loss=1.0)
    run.measure(loss=1.0)
    run.checkpoint()
    with run.epoch(), run.productive():
        pass
    assert not {name for name in recorder.points() if name.startswith("llmon.training.")}
    assert "only while it runs" in caplog.text


def test_an_epoch_can_be_used_again(recorder, run, caplog):
    """After its end, as a phase can; inside itself it is another epoch, as any other is."""
    again = run.epoch()
    for _ in range(2):
        with again:
            run.step(loss=1.0)
    assert [epoch["epoch"] for epoch in told(recorder, "training.epoch")] == [1, 2]
    assert not caplog.text
    with again, again:
        pass
    assert "an epoch begins in another one" in caplog.text
    assert [epoch["epoch"] for epoch in told(recorder, "training.epoch")] == [1, 2, 3, 4]


def test_a_run_can_run_again_and_inside_itself(recorder, clock, caplog):
    """Each time afresh; an entry inside is part of it."""
    run = training("finetune", model="tiny")
    for _ in range(2):
        with run, run:
            run.step()
            assert run.steps == 1
    assert ended(recorder) == {"success": 2}
    assert "is running already" in caplog.text


def test_a_run_that_was_left_too_often_runs_again(recorder, caplog):
    """What was left without having been entered counts for nothing."""
    run = training("finetune", model="tiny")
    for _ in range(2):
        run.__exit__(None, None, None)
    with run:
        run.step()
    run.__exit__(None, None, None)
    assert ended(recorder) == {"success": 1}
    assert recorder.value("llmon.training.steps", TRAIN) == 1
    assert len(told(recorder, "training.finished")) == 1


def test_steps_of_eight_threads_all_count(recorder, run):
    """None is lost."""

    def work():
        for _ in range(1000):
            run.step(loss=1.0, samples=2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.value("llmon.training.steps", TRAIN) == 8000
    assert recorder.value("llmon.training.samples", TRAIN) == 16000


def test_nothing_is_done_where_telemetry_is_off(recorder):
    """Every word of a run can still be said."""
    telemetry.state.level = telemetry.DISABLED
    with training("finetune") as run:
        with run.epoch(1), run.productive():
            run.step(loss=1.0)
        run.measure(loss=1.0, split="validation")
        run.checkpoint("a.pt", 3)
        run.count("x")
        run.set({})
        assert run.report().phases == ()
    assert not {name for name in recorder.points() if name.startswith("llmon.training.")}
    assert not recorder.finished
    assert not recorder.logs()


def test_parts_of_the_data_are_bounded(recorder, run, caplog):
    """What is past the cap is one series."""
    for number in range(1100):
        run.step(split=f"shard {number}")
    assert len(recorder.points()["llmon.training.steps"]) == 1001
    assert "llmon.training.steps: more than" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_end_its_parent_s_run(program, sink):
    """The parent says how it ended."""
    done = program(
        """
        import os
        import otel_llmon as llmon

        llmon.configure("app")
        with llmon.training("finetune"):
            if not os.fork():
                raise SystemExit(3)
            os.wait()
        """
    )
    assert done.returncode == 0, done.stderr
    assert counted(sink) == [("finetune", "success")]


# jobs that cannot say how they ended

JOB = """
    import os, signal, sys, time
    import otel_llmon as llmon

    with llmon.training("finetune", model="tiny") as run:
        run.step(loss=1.0)
        match sys.argv[1]:
            case "raise": raise ValueError("no")
            case "exit": os._exit(3)
            case "fine": pass
            case number: os.kill(os.getpid(), int(number)); time.sleep(30)
"""


def counted(sink):
    """Run and outcome of each job that was counted, as often as it was."""
    newest = {}
    for resource, metric, point in sink._points():
        if metric.name == "llmon.training.jobs":
            facts = attributes(point)
            where = (resource["service.instance.id"], facts["llmon.pipeline"], facts["llmon.outcome"])
            newest[where] = point.as_int
    return sorted((name, how) for (_, name, how), count in newest.items() for _ in range(count))


@pytest.fixture
def job(program):
    """A function that runs a program under `llmon run --job other`."""

    def run(command, *arguments, **options):
        return subprocess.run(
            [str(BIN / "llmon"), "run", "--job", "other", "--", *command, *arguments],
            check=False,
            env=program.environ,
            cwd=program.folder,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    return run


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("fine", (0, "success")),
        ("raise", (1, "failure")),
        ("exit", (3, "failure")),
        (str(int(signal.SIGKILL)), (-signal.SIGKILL, "failure")),
        (str(int(signal.SIGSEGV)), (-signal.SIGSEGV, "failure")),
        (str(int(signal.SIGTERM)), (-signal.SIGTERM, "cancellation")),
    ],
)
def test_a_job_is_counted_once_however_it_ends(job, program, sink, how, end):
    """By itself where it can, else by the parent, whose exit status is the program's."""
    status, outcome = end
    done = job(["python", str(program.write("job.py", JOB))], how)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr or how == "raise"
    assert counted(sink) == [("finetune", outcome)]


FORGOTTEN = """
    import os, signal
    import otel_llmon as llmon

    worker = os.fork()
    if not worker:
        with llmon.training("finetune"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
"""


def adopt():
    """Get the orphans of this process' children, as a container's first process does."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_killed_worker_that_nobody_waited_for_is_counted(job, program, sink):
    """It is dead, though the system's table still has it."""
    done = job(["python", str(program.write("job.py", FORGOTTEN))], preexec_fn=adopt)
    assert done.returncode == 0, done.stderr
    assert counted(sink) == [("finetune", "failure")]


def test_a_killed_job_s_event_is_in_its_trace(job, program, sink):
    """The parent goes on in it, and says why it ended."""
    job(["python", str(program.write("job.py", JOB))], str(int(signal.SIGKILL)))
    [failed] = [record for record in sink.logs() if record.event_name == "training.failed"]
    assert attributes(failed) == {"run": "finetune", "model": "tiny", "reason": "was ended by SIGKILL"}
    started = [record.trace_id for record in sink.logs() if record.event_name == "training.started"]
    assert set(started) <= {failed.trace_id}
    assert any(failed.trace_id)


def test_a_terminated_run_s_event_is_in_its_trace(program, sink):
    """Another thread reports it, by the name of the signal."""
    command = [
        sys.executable,
        str(program.write("job.py", "import otel_llmon\notel_llmon.configure('app')\n" + textwrap.dedent(JOB))),
    ]
    with program.start([*command, str(int(signal.SIGTERM))]) as process:
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (-signal.SIGTERM, "")
    [failed] = [record for record in sink.logs() if record.event_name == "training.failed"]
    assert attributes(failed)["reason"] == "was ended by SIGTERM"
    [started] = [record for record in sink.logs() if record.event_name == "training.started"]
    assert (failed.trace_id, failed.span_id) == (started.trace_id, started.span_id)
    assert any(failed.trace_id)


@pytest.mark.parametrize(("status", "outcome"), [(0, "success"), (7, "failure")])
def test_a_program_without_a_run_is_a_job_by_its_exit_status(job, sink, status, outcome):
    """Whatever it is written in."""
    assert job(["sh", "-c", f"exit {status}"]).returncode == status
    assert counted(sink) == [("other", outcome)]


def test_nothing_is_written_where_nobody_asked(recorder, tmp_path, monkeypatch):
    """And a file that is gone is told once."""
    monkeypatch.delenv(jobs.VARIABLE, raising=False)
    with training("finetune"):
        pass
    monkeypatch.setenv(jobs.VARIABLE, str(tmp_path / "gone"))
    with training("finetune"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_job_s_lines_tell_who_never_ended(tmp_path, monkeypatch):
    """Lines of several processes may stand in any order."""
    file = tmp_path / "jobs"
    file.touch()
    monkeypatch.setenv(jobs.VARIABLE, str(file))
    first, second = jobs.begin("a", None, {}), jobs.begin("b", "tiny", {"traceparent": "00-1-2-01"})
    jobs.end(first)
    with file.open("a") as lines:
        lines.write('{"began": {"id"\n')
    began, left = jobs.read(file)
    assert [job.name for job in began] == ["a", "b"]
    assert [(job.id, job.model, job.process) for job in left] == [(second, "tiny", os.getpid())]
