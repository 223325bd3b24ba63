"""The same answer from one process, from gloo ranks, and from a Dask cluster that loses a worker."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from tests.conftest import planted, ragged
from workbench.scan.plan import FEW_ROWS
from workbench.scan.threads import threads
from workbench.sets.planted import planted as exact

ROOT = Path(__file__).parent.parent


def same(a, b, rel=1e-9):
    assert list(a.frame["name"]) == list(b.frame["name"])
    for x, y in zip(a.frame.to_dict("records"), b.frame.to_dict("records"), strict=True):
        for field in ("value", "low", "high", "null_low", "null_high"):
            assert x[field] == pytest.approx(y[field], rel=rel, abs=1e-12, nan_ok=True), (x["name"], field)


@pytest.fixture
def on_threads():
    """Set how many threads torch has; as many as before, afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_any_number_of_threads_gives_the_same_bits(on_threads):
    es = planted(n=FEW_ROWS + 44, modalities=("image", "text"))
    reports = []
    for count in (1, 2, 3):
        on_threads(count)
        reports.append(wb.diagnose(es))
        assert f"{count} thread" in reports[-1].about["machine"]
        assert torch.get_num_threads() == count
    for other in reports[1:]:
        same(reports[0], other, rel=0.0)
        assert [str(f) for f in reports[0].findings] == [str(f) for f in other.findings]


def test_little_work_is_done_by_who_asks(on_threads):
    """And who waits for threads shares them with what he asks on the way; a thread works alone."""
    on_threads(2)
    with threads(torch.device("cpu"), worthwhile=False) as team:
        assert set(team.map(lambda _: threading.get_ident(), range(8))) == {threading.get_ident()}
    with threads(torch.device("cpu")) as team:

        def inside(_):
            with threads(torch.device("cpu")) as mine:
                return threading.get_ident(), *mine.map(lambda _: threading.get_ident(), range(2))

        for found in team.map(inside, range(8)):
            assert len(set(found)) == 1
            assert found[0] != threading.get_ident()
        with threads(torch.device("cpu")) as again:
            assert again is team
    assert torch.get_num_threads() == 2


def test_what_fails_on_a_thread_fails_here_and_gives_the_threads_back(on_threads):
    on_threads(2)
    for worthwhile in (True, False):
        with pytest.raises(ZeroDivisionError), threads(torch.device("cpu"), worthwhile=worthwhile) as team:
            list(team.map(lambda x: 1 / x, [1, 0]))
        assert torch.get_num_threads() == 2


def ranks(tmp_path, count, body):
    """Run a program on that many real gloo ranks."""
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys, torch, torch.distributed as dist, workbench as wb\n"
        "dist.init_process_group('gloo', init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=int(sys.argv[3]))\n"
        "rank, size = dist.get_rank(), dist.get_world_size()\n"
        + textwrap.dedent(body)
        # gloo's threads may outlive the interpreter's teardown and abort it: everything is on disk, leave at once
        + "\ndist.barrier()\ndist.destroy_process_group()\nsys.stdout.flush()\nos._exit(0)\n"
    )
    meet = f"file://{tmp_path}/meet"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, script, meet, str(r), str(count)], env=env, stderr=subprocess.PIPE, text=True)
        for r in range(count)
    ]
    said = [p.communicate(timeout=180)[1] for p in running]
    for p, err in zip(running, said, strict=True):
        assert p.returncode == 0, err


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """What two and three ranks have left in their folders; they start once and do several things in turn."""
    root = tmp_path_factory.mktemp("ranks")
    planted(n=90).save(root / "set")
    planted(n=75, modalities=("image", "text")).save(root / "two")
    program = f"""
    from workbench.scan.plan import Scan
    out = {str(root)!r} + f"/{{size}}"
    tile, Scan.__init__.__kwdefaults__["tile"] = Scan.__init__.__kwdefaults__["tile"], 16  # several groups a rank
    wb.diagnose({str(root / "set")!r}, executor="ddp").save(f"{{out}}/report{{rank}}")
    Scan.__init__.__kwdefaults__["tile"] = tile

    if size == 3:
        es = wb.load({str(root / "two")!r})
        start, stop = ((0, 10), (10, 15), (15, 75))[rank]
        acc = wb.Accumulator(["recall_at_1", "modality_gap", "uniformity"])
        for i in range(start, stop, 7):
            part = slice(i, min(i + 7, stop))
            acc.update({{m: es[m][part] for m in es.modalities}}, ids=list(es.items["id"][part]))
        acc.compute().save(f"{{out}}/accumulated{{rank}}")

    try:
        wb.diagnose({{"a": torch.randn(9, 4), "b": torch.ones(9, 4) + rank}}, executor="ddp")
        said = "accepted"
    except wb.InputError as e:
        said = str(e)
    open(f"{{out}}/said{{rank}}", "w").write(said)
    """
    for count in (2, 3):
        (root / str(count)).mkdir()
        ranks(root / str(count), count, program)
    return root


@pytest.mark.parametrize("count", [2, 3])
def test_ddp_equals_local(ranked, count):
    from workbench.scan.plan import Scan

    before = Scan.__init__.__kwdefaults__["tile"]
    Scan.__init__.__kwdefaults__["tile"] = 16
    try:
        local = wb.diagnose(planted(n=90))
    finally:
        Scan.__init__.__kwdefaults__["tile"] = before
    for rank in range(count):
        same(wb.Report.load(ranked / f"{count}/report{rank}"), local, rel=0.0)  # the same bits


def test_accumulators_on_uneven_ranks_equal_one_set(ranked):
    es = planted(n=75, modalities=("image", "text"))
    local = wb.diagnose(es, only=["recall_at_1", "modality_gap", "uniformity"])
    for rank in range(3):
        same(wb.Report.load(ranked / f"3/accumulated{rank}"), local, rel=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_with_different_sets_are_refused(ranked, count):
    for rank in range(count):
        assert "different sets" in (ranked / f"{count}/said{rank}").read_text()


def test_ddp_without_a_group_says_how_to_start_one():
    with pytest.raises(wb.InputError, match="torchrun"):
        wb.diagnose(planted(), executor="ddp")


def test_accumulator_merges_and_counts_an_item_once():
    es = exact(items=40, gap=0.5)
    first, second = wb.Accumulator(["modality_gap"]), wb.Accumulator(["modality_gap"])
    ids = list(es.items["id"])
    for acc, part in ((first, slice(0, 25)), (second, slice(20, 40))):
        acc.update({m: es[m][part] for m in es.modalities}, ids=ids[part], kind=["x"] * len(ids[part]))
    both = first.merge(second)
    assert (len(first), len(both)) == (25, 45)
    assert len(both.embeddings()) == 40
    assert both.compute().value("modality_gap", "image", "text") == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(wb.InputError, match="one row an item"):
        first.update({"image": torch.eye(3), "text": torch.eye(2)})
    first.reset()
    with pytest.raises(wb.InputError, match="call update"):
        first.compute()


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
        yield made


@pytest.mark.filterwarnings("ignore")  # of Dask's own threads and sockets
@pytest.mark.slow
def test_dask_equals_local_and_survives_the_death_of_a_worker(tmp_path, cluster):
    import threading
    import time

    from distributed import Client

    path = exact(items=6_000, dimensions=64, gap=0.3, families=2).save(tmp_path / "set")
    local = wb.diagnose(path)
    with Client(cluster) as client:
        pids = client.run(os.getpid)

        killed = []

        def kill():
            # as soon as a worker has a result in hand that would be lost with it
            for _ in range(3_000):
                address = next((w for w, keys in client.has_what().items() if keys), None)
                if address:
                    killed.append(pids[address])
                    os.kill(pids[address], 9)
                    return
                time.sleep(0.01)

        killer = threading.Thread(target=kill)
        killer.start()
        report = wb.diagnose(path, executor="dask", scheduler=cluster.scheduler_address)
        killer.join()
        after = set(client.run(os.getpid).values())
    assert killed, "no worker ever had a result"
    assert not after & set(killed)
    same(report, local)


@pytest.mark.filterwarnings("ignore")
def test_dask_reads_ragged_and_fused_sets(tmp_path, cluster):
    path = planted(n=60).save(tmp_path / "three")
    same(
        wb.diagnose(path, executor="dask", scheduler=cluster.scheduler_address, only=["recall_at_1", "mutual_knn"]),
        wb.diagnose(path, only=["recall_at_1", "mutual_knn"]),
    )
    path = ragged().save(tmp_path / "ragged")
    same(wb.diagnose(path, executor="dask", scheduler=cluster.scheduler_address), wb.diagnose(path))


def test_dask_needs_a_set_that_its_workers_can_read():
    with pytest.raises(wb.InputError, match=r"es\.save"):
        wb.diagnose(planted(), executor="dask", scheduler="tcp://127.0.0.1:1")


def test_memory_that_runs_out_halves_the_tiles(tmp_path):
    """A real limit on the address space: whole tiles do not fit, their quarters do."""
    code = textwrap.dedent(
        """
        import resource, torch, workbench as wb
        from workbench.scan.plan import Scan
        from workbench.scan.executors import execute
        from workbench.scan.statistics import Kernel
        torch.set_num_threads(1)
        g = torch.Generator().manual_seed(0)
        es = wb.EmbeddingSet({"a": torch.randn(9000, 8, generator=g)})
        want = execute(Scan(es, [Kernel("a", "a")], tile=1024, exact=True))[Kernel("a", "a")]["sum"]
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (500 << 20), -1))
        got = execute(Scan(es, [Kernel("a", "a")], tile=9000, exact=True))[Kernel("a", "a")]["sum"]
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        try:
            torch.empty(9000, 9000, 2)
        except RuntimeError:
            print("the limit is real")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    assert "the limit is real" in done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    es = planted(n=500)
    same(wb.diagnose(es, device="cuda"), wb.diagnose(es, device="cpu"), rel=1e-5)


def test_bfloat16_screening_changes_no_rank():
    """Tiles that only rank may be screened in bfloat16; the ranks are those of float64."""
    from workbench.scan.executors import execute
    from workbench.scan.plan import Scan
    from workbench.scan.statistics import Ranks

    g = torch.Generator().manual_seed(0)
    base = torch.randn(700, 48, generator=g)
    for noise in (0.3, 1.5, 30.0):  # from clear matches to none
        es = wb.EmbeddingSet({"a": base, "b": base + noise * torch.randn(700, 48, generator=g)})
        wanted = [Ranks("a", "b"), Ranks("b", "a")]
        found = []
        for screen in (False, True):
            sweep = Scan(es, wanted, tile=128)
            sweep.screening.worthwhile = screen
            found.append(execute(sweep))
        scores = (es.unit("a") @ es.unit("b").T).numpy()
        own = scores.diagonal()
        for known in found:
            np.testing.assert_array_equal(known[wanted[0]]["above"][:, 0], (scores > own[:, None] + 1e-12).sum(1))
            np.testing.assert_array_equal(known[wanted[1]]["above"][:, 0], (scores > own[None] + 1e-12).sum(0))
