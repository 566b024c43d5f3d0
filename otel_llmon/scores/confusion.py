"""How good a classifier is, from how often each class was predicted where each was true; how far off numbers are."""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import sqrt
from typing import NamedTuple

Confusion = Mapping[tuple[str, str], float]
"""Rows by prediction and truth."""


class ClassScore(NamedTuple):
    """One class: how many of its predictions were right, how many of its rows were found, and both in one.

    A share of nothing is 0, as scikit-learn has it.
    """

    precision: float
    recall: float
    f1: float
    rows: float
    """Rows of which this class was the truth."""


class Quality(NamedTuple):
    """A classifier: accuracy, and the plain means of the classes' scores (`macro`), None where no class has a name."""

    rows: float
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None
    classes: Mapping[str, ClassScore]


class Errors(NamedTuple):
    """How far off numbers are: mean of the distances, root of the mean square, and mean of what was too much."""

    rows: float
    mae: float
    rmse: float
    bias: float


def quality(confusion: Confusion, unnamed: Container[str] = ()) -> Quality | None:
    """Return how good the predictions were; None where no truth is known.

    Pairs of equal names are right. What is `unnamed` stands for many classes, and has no scores of its own.
    """
    total = sum(confusion.values())
    if not total:
        return None
    names = sorted({name for pair in confusion for name in pair})
    classes = {name: _class(confusion, name) for name in names if name not in unnamed}
    right = sum(confusion.get((name, name), 0) for name in names)
    precision, recall, f1 = (_mean([score[place] for score in classes.values()]) for place in range(3))
    return Quality(total, right / total, precision, recall, f1, classes)


def _class(confusion: Confusion, name: str) -> ClassScore:
    right = confusion.get((name, name), 0)
    predicted = sum(rows for (found, _), rows in confusion.items() if found == name)
    true = sum(rows for (_, found), rows in confusion.items() if found == name)
    precision, recall = _share(right, predicted), _share(right, true)
    return ClassScore(precision, recall, _share(2 * right, predicted + true), true)


def _mean(numbers: list[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def errors(rows: float, over: float, under: float, squares: float) -> Errors | None:
    """Return how far off numbers were, from sums of what was too much, too little, and of squares."""
    return Errors(rows, (over + under) / rows, sqrt(squares / rows), (over - under) / rows) if rows else None
