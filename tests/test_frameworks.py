"""Training runs of real frameworks on tiny models; each part is skipped where its framework is not installed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from otel_llmon import telemetry, training
from otel_llmon.errors import MissingExtraError

SAMPLES, BATCH, EPOCHS = 32, 8, 3
STEPS = EPOCHS * SAMPLES // BATCH
UNEVEN = 26
"""Samples of which the last batch is a small one."""
RUN = {"llmon.pipeline": "finetune", "llmon.model": "tiny"}
TRAIN, VALIDATION = ({**RUN, "llmon.split": split} for split in ("train", "validation"))

# what the frameworks warn about among themselves is not about us
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


@pytest.fixture
def run(recorder):
    """A run that goes on."""
    with training("finetune", model="tiny") as run:
        yield run


@pytest.fixture
def torch():
    """The real one, on the CPU."""
    found = pytest.importorskip("torch", exc_type=ImportError)
    found.manual_seed(7)
    return found


def told(recorder, name):
    """The attributes of the events of this name."""
    return [dict(record.attributes) for record in recorder.logs() if record.event_name == name]


def data(torch, samples=SAMPLES):
    """Points and which side of a line they are on."""
    points = torch.randn(samples, 4)
    return points, (points.sum(dim=1) > 0).long()


def samples_of(recorder):
    """The samples that the epochs' events told."""
    return [it["samples"] for it in told(recorder, "training.epoch") if it["split"] == "train"]


def epochs_of(recorder, split="train"):
    """The number and the loss that the epochs' events told."""
    return [(it["epoch"], it.get("loss")) for it in told(recorder, "training.epoch") if it["split"] == split]


def test_a_torch_loop(recorder, run, torch):
    """The loop tells the loss; the optimizer its learning rate and the gradient's norm."""
    from otel_llmon.adapters.torch import watch

    points, sides = data(torch)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watched = watch(run, optimizer)
    for _ in range(EPOCHS):
        with run.epoch():
            for start in range(0, SAMPLES, BATCH):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(points[start:][:BATCH]), sides[start:][:BATCH])
                loss.backward()
                optimizer.step()
                run.step(loss, samples=BATCH)
    assert recorder.value("llmon.training.steps", TRAIN) == STEPS
    assert recorder.value("llmon.training.loss", TRAIN) == loss.item()
    assert recorder.value("llmon.training.learning_rate", RUN) == 0.1
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()
    assert recorder.value("llmon.training.gradient_norm", RUN) == pytest.approx(norm)
    assert len(epochs_of(recorder)) == EPOCHS
    watched.remove()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert recorder.value("llmon.training.learning_rate", RUN) == 0.1


def test_a_loss_of_torch_that_is_nan_is_counted(recorder, run, torch):
    """A tensor with a graph behind it, in half precision too."""
    for kind in (torch.float32, torch.bfloat16):
        run.step(torch.tensor(0.0, dtype=kind, requires_grad=True) / torch.tensor(0.0, dtype=kind))
    assert recorder.value("llmon.training.not_finite", {**TRAIN, "llmon.quantity": "loss"}) == 2


def small_bert(transformers):
    """A model of two layers."""
    shape = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(**shape, intermediate_size=16, max_position_embeddings=16, num_labels=2)
    return transformers.BertForSequenceClassification(config)


def sentences(number):
    """Rows for it."""
    return [{"input_ids": [2, at % 40 + 3, 5, 6], "attention_mask": [1] * 4, "labels": at % 2} for at in range(number)]


def test_the_transformers_trainer(recorder, run, torch, tmp_path):
    """A model of two layers made here; steps, samples, tokens, logs, evaluations and checkpoints."""
    transformers = pytest.importorskip("transformers")
    from otel_llmon.adapters.transformers import callback

    rows = sentences(SAMPLES)
    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="epoch",
        include_num_input_tokens_seen="all",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=small_bert(transformers),
        args=settings,
        train_dataset=rows,
        eval_dataset=rows[:BATCH],
        compute_metrics=lambda found: {"accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))},
        callbacks=[callback(run)],
    )
    trainer.train()
    logged = [it for it in trainer.state.log_history if "loss" in it]
    evaluated = [it for it in trainer.state.log_history if "eval_loss" in it]
    assert recorder.value("llmon.training.steps", TRAIN) == STEPS == trainer.state.global_step
    assert recorder.value("llmon.training.samples", TRAIN) == EPOCHS * SAMPLES
    assert recorder.value("llmon.training.tokens", TRAIN) == trainer.state.num_input_tokens_seen == STEPS * BATCH * 4
    assert recorder.value("llmon.training.loss", TRAIN) == logged[-1]["loss"]
    assert recorder.value("llmon.training.learning_rate", RUN) == logged[-1]["learning_rate"]
    assert recorder.value("llmon.training.gradient_norm", RUN) == logged[-1]["grad_norm"]
    assert recorder.value("llmon.training.accuracy", VALIDATION) == evaluated[-1]["eval_accuracy"]
    assert epochs_of(recorder, "validation") == [(n + 1, it["eval_loss"]) for n, it in enumerate(evaluated)]
    assert [number for number, _ in epochs_of(recorder)] == [1, 2, 3]
    assert [it["path"] for it in told(recorder, "checkpoint.saved")] == [
        str(tmp_path / f"checkpoint-{step}") for step in (4, 8, 12)
    ]


@pytest.mark.parametrize(
    ("given", "epoch"),
    [
        ({}, 26),
        ({"gradient_accumulation_steps": 2}, 26),
        ({"gradient_accumulation_steps": 3}, 26),
        ({"dataloader_drop_last": True}, 24),
    ],
)
def test_a_trainer_s_samples_are_those_of_its_batches(recorder, run, torch, tmp_path, given, epoch):  # noqa: PLR0917
    """The last batch of an epoch holds fewer, and the last step fewer batches; what is dropped does not count."""
    transformers = pytest.importorskip("transformers")
    from otel_llmon.adapters.transformers import callback

    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **given,
    )
    model = small_bert(transformers)
    transformers.Trainer(model, settings, train_dataset=sentences(UNEVEN), callbacks=[callback(run)]).train()
    assert samples_of(recorder) == [epoch] * EPOCHS
    assert recorder.value("llmon.training.samples", TRAIN) == EPOCHS * epoch


def test_a_trainer_that_goes_on_from_a_checkpoint_counts_what_is_left(recorder, run, torch, tmp_path):
    """Of an epoch that was left in its middle, too."""
    transformers = pytest.importorskip("transformers")
    from otel_llmon.adapters.transformers import callback

    def train(callbacks, **settings):
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=BATCH,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            **settings,
        )
        rows = sentences(UNEVEN)
        return transformers.Trainer(small_bert(transformers), settings, train_dataset=rows, callbacks=callbacks)

    train([], max_steps=5, save_steps=5).train()
    train([callback(run)], save_strategy="no").train(resume_from_checkpoint=True)
    assert samples_of(recorder) == [UNEVEN - BATCH]


def test_a_trainer_that_fails_is_a_failed_job(recorder, torch, tmp_path):
    """The epoch that was open is part of it."""
    transformers = pytest.importorskip("transformers")
    from otel_llmon.adapters.transformers import callback

    class Broken(torch.nn.Module):
        def forward(self, labels):
            raise ValueError("no weights")

    settings = transformers.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True)
    with pytest.raises(ValueError, match="no weights"), training("finetune", model="tiny") as run:
        transformers.Trainer(Broken(), settings, train_dataset=[{"labels": 0}], callbacks=[callback(run)]).train()
    assert recorder.value("llmon.training.jobs", {**RUN, "llmon.outcome": "failure"}) == 1
    assert recorder.spans()["epoch"].attributes["error.type"] == "ValueError"
    assert epochs_of(recorder) == []


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(recorder, run, torch, tmp_path, accumulate):
    """Steps of the optimizer, samples as batches hold them, what the module logs, checkpoints that were saved."""
    lightning = pytest.importorskip("lightning.pytorch")
    from otel_llmon.adapters.lightning import callback

    losses = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def _loss(self, batch):
            return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def training_step(self, batch, _):
            loss = self._loss(batch)
            losses.append(loss.item())
            return loss

        def validation_step(self, batch, _):
            self.log_dict({"val_loss": self._loss(batch), "val_acc": 0.75})

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data(torch, UNEVEN)), batch_size=BATCH)
    saver = lightning.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback(run), saver],
    )
    trainer.fit(Module(), loader, loader)
    assert recorder.value("llmon.training.steps", TRAIN) == STEPS / accumulate == trainer.global_step
    assert recorder.value("llmon.training.samples", TRAIN) == EPOCHS * UNEVEN
    assert samples_of(recorder) == [UNEVEN] * EPOCHS
    assert recorder.value("llmon.training.loss", TRAIN) == pytest.approx(losses[-1])
    assert recorder.value("llmon.training.learning_rate", RUN) == 0.1
    assert recorder.value("llmon.training.gradient_norm", RUN) > 0
    assert recorder.value("llmon.training.accuracy", VALIDATION) == 0.75
    assert [number for number, _ in epochs_of(recorder)] == [1, 2, 3]
    assert epochs_of(recorder, "validation")[-1][1] == pytest.approx(trainer.callback_metrics["val_loss"].item())
    assert {it["path"] for it in told(recorder, "checkpoint.saved")} == {str(path) for path in tmp_path.glob("*.ckpt")}
    assert len(told(recorder, "checkpoint.saved")) == EPOCHS


def test_keras(recorder, run, torch, monkeypatch):
    """With torch under it; loss and accuracy are its running means."""
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    from otel_llmon.adapters.keras import callback

    points, sides = data(torch, 28)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.25), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        points.numpy(),
        sides.numpy(),
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_split=0.25,
        verbose=0,
        callbacks=[callback(run, batch_size=BATCH, samples=21)],
    ).history
    assert recorder.value("llmon.training.steps", TRAIN) == EPOCHS * 3
    assert recorder.value("llmon.training.samples", TRAIN) == EPOCHS * 21
    assert samples_of(recorder) == [21] * EPOCHS
    assert recorder.value("llmon.training.learning_rate", RUN) == 0.25
    assert recorder.value("llmon.training.accuracy", VALIDATION) == history["val_accuracy"][-1]
    assert epochs_of(recorder) == [(number + 1, pytest.approx(loss)) for number, loss in enumerate(history["loss"])]


ADAPTERS = ("torch", "transformers", "lightning", "keras")


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_imports_its_framework_when_it_is_used(name):
    """Importing it loads nothing."""
    code = f"import sys, otel_llmon.adapters.{name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {*ADAPTERS, "lightning.pytorch", "pytorch_lightning", "numpy"} & set(loaded)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_without_its_framework_says_what_to_install(name, monkeypatch):
    """As every extra does."""
    for missing in (name, "pytorch_lightning", "lightning.pytorch"):
        monkeypatch.setitem(sys.modules, missing, None)
    adapter = importlib.import_module(f"otel_llmon.adapters.{name}")
    run = training("finetune")
    with pytest.raises(MissingExtraError, match=f"'{name}' is not installed; run: pip install {name}"):
        adapter.watch(run, None) if name == "torch" else adapter.callback(run)


def test_a_mistake_of_a_callback_does_not_end_the_training(recorder, caplog):
    """It is counted, and told once."""
    from otel_llmon.adapters._callbacks import made

    class Ours:
        def __init__(self, number):
            self.number = number

        def on_step_end(self, step):
            self.number /= step

    class Theirs:
        def on_step_end(self, step):
            raise NotImplementedError

        def on_log(self):
            return "theirs"

    callback = made(Ours, Theirs, 8)
    for step in (2, 0, 0):
        assert callback.on_step_end(step) is None
    assert (callback.number, callback.on_log(), isinstance(callback, Theirs)) == (4, "theirs", True)
    assert recorder.value("llmon.self.errors", {"llmon.source": "callback"}) == 2
    assert caplog.text.count("the training goes on") == 1


def test_callbacks_cost_nothing_where_telemetry_is_off(recorder, torch):
    """The loop goes on as without them."""
    from otel_llmon.adapters.torch import watch

    telemetry.state.level = telemetry.DISABLED
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    with training("finetune") as run:
        watch(run, optimizer)
        parameter.sum().backward()
        optimizer.step()
    assert parameter.item() == 0
    assert "llmon.training.steps" not in recorder.points()
