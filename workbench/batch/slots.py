"""Where jobs run: slots of this machine, with their share of its cores or a GPU each; or the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from threading import Event
from typing import Any

from workbench.batch.job import Job
from workbench.batch.manifest import JobRecord
from workbench.batch.supervise import supervise
from workbench.errors import InputError

Told = Callable[[Any], None]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")


def slots(workers: int, gpus: Sequence[str] = ()) -> list[dict[str, str]]:
    """The environment of each slot: one a GPU where there are some, and no more threads together than cores."""
    count = len(gpus) or workers
    if count < 1:
        raise InputError("--workers: at least one")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // count)
    out = []
    for k in range(count):
        # a limit that the user has set already stands where it is lower
        env = {name: str(min(share, _whole(os.environ.get(name), share))) for name in THREADS}
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = gpus[k]
        out.append(env)
    return out


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() and int(text) > 0 else otherwise


def locally(
    jobs: Sequence[Job], places: Sequence[Mapping[str, str]], *, timeout: float, stop: Event, began: Told, ended: Told
) -> Iterator[JobRecord]:
    """Jobs on the slots of this machine, one a slot at a time; entries as they end."""
    free: SimpleQueue[Mapping[str, str]] = SimpleQueue()
    for place in places:
        free.put(place)

    def do(job: Job) -> JobRecord | None:
        if stop.is_set():
            return None
        place = free.get()
        began(job)
        try:
            entry = supervise(job, place, timeout=timeout, stop=stop)
            ended(entry)
            return entry
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(do, job) for job in jobs]
        try:
            for f in as_completed(futures):
                if (entry := f.result()) is not None:
                    yield entry
        finally:
            stop.set()  # nothing is begun once nobody waits for it
            for f in futures:
                f.cancel()


def on_dask(
    jobs: Sequence[Job], scheduler: str, *, resources: Mapping[str, float], timeout: float, began: Told, ended: Told
) -> Iterator[JobRecord]:
    """The same jobs as tasks of a Dask cluster, whose workers see the output folder and need nothing else of here."""
    from workbench.scan.executors.dask import connected

    with connected(scheduler) as client:
        from distributed import as_completed as finished

        futures = [
            client.submit(
                supervise,
                job,
                timeout=timeout,
                key=f"notebook-{job.label}-{job.key}",
                resources=dict(resources),
                pure=False,
            )
            for job in jobs
        ]
        for job in jobs:
            began(job)
        try:
            for f in finished(futures):
                entry = f.result()
                ended(entry)
                yield entry
        finally:
            client.cancel(futures)
