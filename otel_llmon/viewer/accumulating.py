"""Points of one series made comparable: deltas added up, and exponential buckets brought to the same edges."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

Point = dict[str, Any]


def unified(points: list[Point]) -> list[Point]:
    """Return histogram points that all have the same edges.

    A bucket's count goes to the bucket that ends where it ended: every edge of a coarser point is one of a finer, too.
    """
    edges = sorted({edge for point in points for edge in point["edges"]})
    return [{**point, "edges": edges, "buckets": _spread(point, edges)} for point in points]


def _spread(point: Point, edges: list[float]) -> list[int]:
    found = dict(zip(point["edges"], point["buckets"], strict=False))
    return [*(found.get(edge, 0) for edge in edges), point["buckets"][len(point["edges"])]]


def cumulative(points: list[Point]) -> list[Point]:
    """Return deltas in order of time as totals since the first of them."""
    return list(accumulate(points, _sum))


def _sum(before: Point, point: Point) -> Point:
    if "buckets" in point and point["edges"] != before["edges"]:
        return point
    since = {"start": before["start"]} if "start" in before else {}
    if "buckets" not in point:
        return point | since | {"value": _plus(before["value"], point["value"])}
    return (
        point
        | since
        | {
            "count": before["count"] + point["count"],
            "sum": _plus(before["sum"], point["sum"]),
            "buckets": [low + high for low, high in zip(before["buckets"], point["buckets"], strict=True)],
        }
    )


def _plus(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else one + other
