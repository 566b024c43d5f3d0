"""Which worker of a distributed job this process is, from the environment that its launcher set."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from otel_llmon.semconv.attributes import (
    JOB_ID,
    K8S_NAMESPACE,
    K8S_NODE,
    K8S_POD,
    LOCAL_RANK,
    RANK,
    WORKER_ID,
    WORLD_SIZE,
)


class Launcher(NamedTuple):
    """What a launcher sets: by `needs` it is known, the others are where it says what."""

    needs: tuple[str, ...]
    variables: Mapping[str, str]


LAUNCHERS = {
    "torchrun": Launcher(
        ("RANK", "WORLD_SIZE"),
        {RANK: "RANK", LOCAL_RANK: "LOCAL_RANK", WORLD_SIZE: "WORLD_SIZE", JOB_ID: "TORCHELASTIC_RUN_ID"},
    ),
    "slurm": Launcher(
        ("SLURM_JOB_ID", "SLURM_PROCID"),
        {RANK: "SLURM_PROCID", LOCAL_RANK: "SLURM_LOCALID", WORLD_SIZE: "SLURM_NTASKS", JOB_ID: "SLURM_JOB_ID"},
    ),
    "mpi": Launcher(
        ("OMPI_COMM_WORLD_RANK",),
        {
            RANK: "OMPI_COMM_WORLD_RANK",
            LOCAL_RANK: "OMPI_COMM_WORLD_LOCAL_RANK",
            WORLD_SIZE: "OMPI_COMM_WORLD_SIZE",
        },
    ),
    "kubernetes job": Launcher(("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"), {RANK: "JOB_COMPLETION_INDEX"}),
    "ray": Launcher(("RAY_JOB_ID",), {JOB_ID: "RAY_JOB_ID", WORKER_ID: "RAY_WORKER_ID"}),
}
"""The first whose variables are there says which worker this is: Ray Train sets torchrun's too."""

KUBERNETES = {K8S_POD: ("POD_NAME", "HOSTNAME"), K8S_NAMESPACE: ("POD_NAMESPACE",), K8S_NODE: ("NODE_NAME",)}
"""Where a pod's names are, by the usual names of the downward API."""

NUMBERS = frozenset((RANK, LOCAL_RANK, WORLD_SIZE))


def detected(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return resource attributes of this worker; what is no number where one must be is left out."""
    found: dict[str, Any] = {}
    for launcher in LAUNCHERS.values():
        if all(environ.get(name) for name in launcher.needs):
            found = {key: environ[name] for key, name in launcher.variables.items() if environ.get(name)}
            break
    found = {key: int(value) if key in NUMBERS else value for key, value in found.items() if _fits(key, value)}
    if environ.get("KUBERNETES_SERVICE_HOST"):
        for key, names in KUBERNETES.items():
            if (told := next((environ[name] for name in names if environ.get(name)), None)) is not None:
                found[key] = told
    if (worker := _dask_worker()) is not None:
        found[WORKER_ID] = worker
    if WORKER_ID not in found and RANK in found:
        found[WORKER_ID] = str(found[RANK])
    return found


def told(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the same, without what `OTEL_RESOURCE_ATTRIBUTES` says otherwise."""
    said = {pair.partition("=")[0].strip() for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")}
    return {key: value for key, value in detected(environ).items() if key not in said}


def _fits(key: str, value: str) -> bool:
    return key not in NUMBERS or value.isdecimal()


def _dask_worker() -> str | None:
    """Return the name of the Dask worker that runs this, without importing Dask."""
    module = sys.modules.get("distributed.worker")
    try:
        return None if module is None else str(module.get_worker().name)
    except Exception:  # not in a worker's task
        return None
