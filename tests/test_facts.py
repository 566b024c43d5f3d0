"""What models and tensors say of themselves, and what becomes of those that say nothing or raise."""

from __future__ import annotations

import numpy as np
import pytest

from otel_llmon import facts, phase


class Parameter:
    """As torch has them."""

    def numel(self):
        return 12


class Torchlike:
    """A model that hands out its parameters."""

    def parameters(self):
        return iter([Parameter(), Parameter()])


class Keraslike:
    """A model that counts them itself."""

    def count_params(self):
        return np.int64(7)


class Tensor:
    """A shape with an open dimension, and an element type that is known by its text alone."""

    shape = (None, 128)
    dtype = type("DType", (), {"__str__": lambda _: "torch.bfloat16"})()


class Broken:
    """Says that it has a shape, and fails at it."""

    @property
    def shape(self):
        raise RuntimeError("on another device")


def test_a_model_is_its_class_and_the_number_of_its_parameters():
    """Whichever way it tells them; one that does not has none."""
    assert facts.of_model(Torchlike()) == {"llmon.model.type": "Torchlike", "llmon.model.parameters": 24}
    assert facts.of_model(Keraslike()) == {"llmon.model.type": "Keraslike", "llmon.model.parameters": 7}
    assert facts.of_model(Tensor()) == {"llmon.model.type": "Tensor"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.zeros((8, 16), np.float32), {"shape": [8, 16], "type": "float32"}),
        (np.int64(3), {"shape": [], "type": "int64"}),
        (Tensor(), {"shape": [-1, 128], "type": "bfloat16"}),
        (["a", "b"], {"shape": [2]}),
        ({"input_ids": [1]}, {}),
        ("text", {}),
        (None, {}),
    ],
)
def test_a_value_is_its_shape_and_its_element_type(value, found):
    """As input and as output; what it does not say is left out."""
    assert facts.of_input(value) == {f"llmon.input.{name}": fact for name, fact in found.items()}
    assert facts.of_output(value) == {f"llmon.output.{name}": fact for name, fact in found.items()}


def test_an_object_that_fails_costs_nothing_but_a_warning(caplog):
    """The work goes on."""
    assert facts.of_input(Broken()) == {}
    assert "llmon.input.shape of a Broken: left out: RuntimeError: on another device" in caplog.text


def test_facts_are_attributes_of_a_phase(recorder):
    """Given at its start, or set once they are known."""
    with phase("forward", facts.of_input(np.zeros((2, 3)))) as forward:
        forward.set(facts.of_output(np.zeros(2)))
    assert recorder.spans()["forward"].attributes["llmon.input.shape"] == (2, 3)
    assert recorder.spans()["forward"].attributes["llmon.output.shape"] == (2,)
