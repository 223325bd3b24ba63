"""A scan on a Dask cluster: groups are tasks, workers read their own spans of the set from disk."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from workbench.errors import InputError
from workbench.progress import progress
from workbench.scan.plan import Scan
from workbench.scan.statistics import Earlier, Statistic
from workbench.scan.waves import Parts, by_waves
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.fused import Fused, with_fused

RETRIES = 3  # of a group whose worker died; Dask counts the death of a worker apart from an exception
_here = threading.local()


class Spec(NamedTuple):
    """All that a worker needs to build the same scan again; `key` tells one diagnosis from another."""

    key: str
    path: str
    fingerprint: str
    fused: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    labels: dict[str, Any]
    device: str
    exact: bool
    tile: int


def dask(scan: Scan, scheduler: str | None = None) -> Earlier:
    """Groups as tasks of a Dask cluster: workers read their own spans of the set from disk.

    `scheduler` is the address of a cluster whose workers see the set's folder; without one, one is started here."""
    with contextlib.ExitStack() as stack:
        path = _on_disk(scan.es, stack, remote=scheduler is not None)
        client = stack.enter_context(connected(scheduler))
        import dask

        # per-item states of a large set are large, and are sent once a wave on purpose
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "4GB"}))
        fused = tuple(m for m in scan.es.modalities if isinstance(scan.es[m], Fused))
        labels = {by: x.numpy() for by, x in scan.view.labels.items()}
        spec = Spec(
            uuid.uuid4().hex,
            path,
            scan.es.fingerprint,
            fused,
            tuple(scan.wanted),
            labels,
            scan.device.type,
            scan.exact,
            scan.tile,
        )

        def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
            # a wave's tasks read few of the states that are known. They travel once, as the result of a task of their
            # own: what is scattered is lost with its worker, what is a task's result is made again
            need = client.submit(
                _kept, {s: earlier[s] for s in scan.needs(wave) if s in earlier}, pure=False, retries=RETRIES
            )
            number = scan.waves.index(wave)
            futures = [client.submit(_group, spec, number, g, need, pure=False, retries=RETRIES) for g in range(count)]
            return _in_order(futures, title)

        return by_waves(scan, do)


@contextlib.contextmanager
def connected(scheduler: str | None) -> Iterator[Any]:
    """A client of the cluster at an address; without one, of a cluster that is started here and ends with the work."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("a Dask cluster needs Dask: pip install 'workbench[dask]'") from None
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            cluster = stack.enter_context(LocalCluster(threads_per_worker=1, dashboard_address=None))
            yield stack.enter_context(Client(cluster))
            return
        try:
            client = stack.enter_context(Client(scheduler, timeout=20))
        except (OSError, ValueError, TimeoutError) as e:
            raise InputError(f"no Dask scheduler answers at {scheduler}: {type(e).__name__}") from None
        yield client


def _kept(known: Earlier) -> Earlier:
    return known


def _in_order(futures: list[Any], title: str) -> Iterator[Parts]:
    """Results in the order of the groups, whichever worker was first; each is let go once it is merged."""
    for i in progress(range(len(futures)), title, len(futures)):
        yield futures[i].result()
        futures[i] = None


def _on_disk(es: EmbeddingSet, stack: contextlib.ExitStack, *, remote: bool) -> str:
    """A folder that holds exactly this set."""
    plain = tuple(m for m in es.modalities if not isinstance(es[m], Fused))
    folder = Path(es.source)
    if (folder / "manifest.json").exists() and EmbeddingSet.load(folder).fingerprint == es.fingerprint:
        return str(folder.absolute())
    if remote:
        raise InputError(
            "executor='dask' with a scheduler needs a set on disk that its workers can read: save the very set to be "
            "diagnosed (one layer, one split) with es.save(PATH) and diagnose PATH"
        )
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="workbench-"))
    return str(es.only(plain).save(Path(scratch) / "set"))


def _group(spec: Spec, number: int, group: int, earlier: Earlier) -> Parts:
    """On a worker: one group of one wave."""
    scan = _scan(spec)
    wave = scan.waves[number]
    return scan.run(scan.groups(scan.tasks(wave, earlier))[group], wave, earlier)


def _scan(spec: Spec) -> Scan:
    """The scan of a spec, kept between tasks of one thread."""
    if getattr(_here, "key", None) != spec.key:
        es = EmbeddingSet.load(spec.path)
        if es.fingerprint != spec.fingerprint:
            raise InputError(f"{spec.path}: is not the set that was to be diagnosed; it changed on disk")
        torch.set_num_threads(1)
        _here.scan = Scan(
            with_fused(es, spec.fused),
            spec.statistics,
            labels=spec.labels,
            device=spec.device,
            exact=spec.exact,
            tile=spec.tile,
        )
        _here.key = spec.key
    return _here.scan
