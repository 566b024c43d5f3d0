"""A training run as the backends see it: values, epochs, pace, goodput, and a job that was killed."""

from __future__ import annotations

import os
import signal

import pytest
from processes import BIN
from servers import until

EPOCHS, STEPS = 1000, 3
LONG = f"""
    import otel_llmon as llmon

    llmon.configure("many")
    with llmon.training("finetune", model="tiny") as run:
        for number in range({EPOCHS}):
            with run.epoch(number):
                for _ in range({STEPS}):
                    run.step(1 / (number + 1), lr=0.001, samples=8, tokens=100, accuracy=0.75)
                run.measure(2.0, accuracy=0.5, split="validation")
"""
GOODPUT = """
    import time
    import otel_llmon as llmon

    llmon.configure("good")
    with llmon.training("finetune") as run:
        for _ in range(20):
            time.sleep(0.02)  # waits for data
            with run.productive():
                time.sleep(0.06)
            run.step()
"""
ENDLESS = """
    import os, time
    import otel_llmon as llmon

    with llmon.training("finetune", model="tiny") as run:
        run.step(1.0)
        print(os.getpid(), flush=True)
        time.sleep(60)
"""
TRAINER = """
    import torch, transformers
    import otel_llmon as llmon
    from otel_llmon.adapters.transformers import callback

    llmon.configure("trainer")
    shape = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape, intermediate_size=16))
    rows = [{"input_ids": [2, n + 3, 5], "attention_mask": [1] * 3, "labels": n % 2} for n in range(32)]
    settings = transformers.TrainingArguments(
        "out", num_train_epochs=3, per_device_train_batch_size=8, logging_steps=1, report_to=[], use_cpu=True
    )
    with llmon.training("finetune", model="tiny") as run:
        transformers.Trainer(model, settings, train_dataset=rows, callbacks=[callback(run)]).train()
"""


@pytest.fixture(scope="module")
def many(stack, tmp_path_factory):
    """A run of a thousand epochs that is over."""
    from processes import Program

    done = Program(tmp_path_factory.mktemp("many"), "http://127.0.0.1:9")(LONG, **stack.environ)
    assert done.returncode == 0, done.stderr
    until(lambda: stack.prometheus.query('llmon_training_steps_total{service_name="many"}'))


@pytest.mark.row("T1", "T3")
def test_a_thousand_epochs_are_one_series_of_each_value(many, stack):
    """Loss and accuracy by part of the data, the learning rate, and the epoch as a value."""

    def values(name):
        found = stack.prometheus.query(f'{name}{{service_name="many",llmon_model="tiny"}}')
        return {series.labels.get("llmon_split"): series.value for series in found}

    assert values("llmon_training_loss") == {"train": 1 / EPOCHS, "validation": 2}
    assert values("llmon_training_accuracy_ratio") == {"train": 0.75, "validation": 0.5}
    assert values("llmon_training_learning_rate") == {None: 0.001}
    assert values("llmon_training_epoch") == {None: EPOCHS - 1}


@pytest.mark.row("T2")
def test_each_epoch_is_a_log_record_and_a_span(many, stack):
    """With loss, accuracy, learning rate and duration."""
    chosen = '{service_name="many"} |= `training.epoch` | split=`train`'
    lines = until(lambda: len(found := stack.loki.lines(chosen, limit=5000)) == EPOCHS and found)
    last = max(lines, key=lambda line: int(line.attributes["epoch"]))
    assert float(last.attributes["loss"]) == 1 / EPOCHS
    assert float(last.attributes["accuracy"]) == 0.75
    assert float(last.attributes["learning_rate"]) == 0.001
    assert 0 < float(last.attributes["duration"]) < 10
    trace = until(lambda: len((found := stack.jaeger.trace(last.trace_id)).named("epoch")) == EPOCHS and found)
    assert trace.root.name == "finetune"
    assert {int(span.attributes["llmon.epoch"]) for span in trace.named("epoch")} == set(range(EPOCHS))


@pytest.mark.row("T4")
def test_the_pace_is_a_rate(many, stack):
    """Steps, samples and tokens per second, and epochs."""

    def total(query):
        return stack.prometheus.query(query).value

    of = '{service_name="many",llmon_split="train"}'
    assert total(f"sum(llmon_training_steps_total{of})") == EPOCHS * STEPS
    assert total(f"sum(llmon_training_samples_total{of})") == EPOCHS * STEPS * 8
    assert total(f"sum(llmon_training_tokens_total{of})") == EPOCHS * STEPS * 100
    epochs = 'llmon_phase_duration_seconds_count{service_name="many",llmon_phase="epoch"}'
    assert total(f"sum({epochs})") == EPOCHS
    assert total(f"sum(rate(llmon_training_steps_total{of}[5m]))") > 0
    assert total(f"sum(rate({epochs}[5m]))") > 0


@pytest.mark.row("T9")
def test_goodput_is_the_productive_part_of_the_time(stack, program):
    """As docs/training.md writes the query."""
    done = program(GOODPUT, **stack.environ)
    assert done.returncode == 0, done.stderr
    time = 'llmon_training_time_seconds_total{service_name="good"'
    share = until(lambda: stack.prometheus.query(f'sum({time},llmon_kind="productive"}}) / sum({time}}})').value)
    assert 0.6 < share < 0.8, "three quarters of the time, less what a busy machine oversleeps"


@pytest.mark.row("T5")
def test_a_job_that_is_killed_is_counted(stack, program):
    """By `llmon run`, as its program's service, in its trace."""
    command = [str(BIN / "llmon"), "run", "--service", "doomed", "--job", "finetune", "--", *program.command(ENDLESS)]
    with program.start(command, **stack.environ) as parent:
        os.kill(int(parent.stdout.readline()), signal.SIGKILL)
        parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGKILL
    failed = 'llmon_training_jobs_total{service_name="doomed",llmon_outcome="failure"}'
    assert until(lambda: stack.prometheus.query(f"sum({failed})").value == 1)
    assert stack.prometheus.query(f"sum(increase({failed}[10m]))").value > 0
    [line] = until(lambda: stack.loki.lines('{service_name="doomed"} |= `training.failed`'))
    assert (line.attributes["run"], line.attributes["reason"]) == ("finetune", "was ended by SIGKILL")


def test_a_loss_that_is_no_number_is_counted_and_told(stack, program):
    """By what it was of; the gauge falls silent, and the first one is an event."""
    source = """
    import otel_llmon as llmon

    llmon.configure("diverging")
    with llmon.training("finetune", model="tiny") as run:
        run.step(0.5, grad_norm=1.0)
        for wrong in ("nan", "inf"):
            run.step(float(wrong), grad_norm=float("nan"))
    """
    done = program(source, **stack.environ)
    assert done.returncode == 0, done.stderr
    counted = 'sum by (llmon_quantity) (llmon_training_not_finite_total{service_name="diverging"})'
    found = until(lambda: stack.prometheus.query(counted).series)
    assert {series.labels["llmon_quantity"]: series.value for series in found} == {"loss": 2, "gradient_norm": 2}
    assert stack.prometheus.query('llmon_training_loss{service_name="diverging"}').series == ()
    [line] = until(lambda: stack.loki.lines('{service_name="diverging"} |= `training.diverged`'))
    assert (line.level, line.attributes["loss"]) == ("ERROR", "nan")


@pytest.mark.row("T7")
@pytest.mark.timeout(240)
def test_a_trainer_of_transformers_arrives(stack, program):
    """The real one, on a model made here; `make test-frameworks` installs it."""
    pytest.importorskip("transformers")
    pytest.importorskip("torch", exc_type=ImportError)
    done = program(TRAINER, timeout=120, **stack.environ)
    assert done.returncode == 0, done.stderr
    steps = 'llmon_training_steps_total{service_name="trainer",llmon_model="tiny"}'
    assert until(lambda: stack.prometheus.query(f"sum({steps})").value == 12)
    assert stack.prometheus.query('llmon_training_loss{service_name="trainer"}').value > 0
