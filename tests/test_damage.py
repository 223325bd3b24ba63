"""Damaged copies of files of every format, a thousand and more: read, or refused in one sentence, never unpickled."""

import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.sets.formats import write

COPIES = 80  # of each format
PROGRAM = """
import signal, sys, warnings
from pathlib import Path

sys.addaudithook(lambda event, args: event == "pickle.find_class" and print("UNPICKLED", args, flush=True))
warnings.simplefilter("ignore")
import workbench as wb


def late(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, late)
for line in Path(sys.argv[1]).read_text().splitlines():
    signal.alarm(30)
    try:
        wb.load(line)
        print("READ", line, flush=True)
    except wb.InputError as e:
        good = len(str(e).splitlines()) == 1 and len(str(e)) <= 300 + 2 * len(line)
        print("REFUSED" if good else f"UNCLEAR {e!r:.500}", line, flush=True)
    except BaseException as e:
        print(f"CRASHED {type(e).__name__} {e!s:.200}", line, flush=True)
    signal.alarm(0)
"""


def a_set():
    es = wb.testing.planted(items=20, dimensions=8, seed=1)
    kinds = ["a", None, "b", "ü"] * 5
    return wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(kind=kinds, n=range(20)))


def tar(es, out):
    with tarfile.open(out, "w") as t:
        for k, i in enumerate(es.items["id"]):
            for m in es.modalities:
                raw = io.BytesIO()
                np.save(raw, es[m][k].numpy())
                info = tarfile.TarInfo(f"{i}.{m}.npy")
                info.size = raw.tell()
                t.addfile(info, io.BytesIO(raw.getvalue()))


def plain(es, out):
    frame = pd.DataFrame({"id": es.items["id"], "kind": es.items["kind"]})
    frame = frame.assign(**{m: [json.dumps(x) for x in es[m].tolist()] for m in es.modalities})
    if out.suffix in (".csv", ".tsv"):
        frame.to_csv(out, index=False, sep="\t" if out.suffix == ".tsv" else ",")
    else:
        frame.to_json(out, orient="records", lines=out.suffix == ".jsonl")


def torch_file(es, out):
    torch.save({"id": list(es.items["id"]), **{m: es[m] for m in es.modalities}}, out)


MADE = {
    **{f"s.{end}": lambda es, out, to=to: write(es, out, to)
       for to, end in (("parquet", "parquet"), ("arrow", "arrow"), ("npz", "npz"), ("safetensors", "safetensors"),
                       ("hdf5", "h5"), ("zarr", "zarr"), ("lance", "lance"), ("projector", "projector"))},
    "s.tar": tar,
    **{f"s.{end}": plain for end in ("csv", "tsv", "json", "jsonl")},
    "s.pt": torch_file,
    "image.npy": lambda es, out: np.save(out, es["image"].numpy()),
    "set": lambda es, out: es.save(out),
}  # fmt: skip


def damaged(raw, draw):
    """Bytes with one thing wrong: cut, a bit, zeros, noise, something between, two parts exchanged."""
    out, n = bytearray(raw), len(raw)
    at, run = int(draw.integers(n)), int(draw.integers(1, 65))
    how = draw.integers(6)
    if how == 0:
        return bytes(out[:at])
    if how == 1:
        out[at] ^= 1 << int(draw.integers(8))
    elif how == 2:
        out[at : at + run] = bytes(len(out[at : at + run]))
    elif how == 3:
        out[at : at + run] = draw.bytes(len(out[at : at + run]))
    elif how == 4:
        out[at:at] = draw.bytes(run)
    else:
        to = int(draw.integers(n))
        out[at : at + run], out[to : to + run] = bytes(out[to : to + run]), bytes(out[at : at + run])
    return bytes(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_damaged_copies_are_read_or_refused_in_one_sentence(name, tmp_path):
    sound = tmp_path / name
    MADE[name](a_set(), sound)
    draw = np.random.default_rng(sum(map(ord, name)))
    inner = [p for p in sorted(sound.rglob("*")) if p.is_file() and p.stat().st_size] if sound.is_dir() else [sound]
    copies = []
    for k in range(COPIES):
        copies.append(tmp_path / f"{k}" / name)
        copies[-1].parent.mkdir()
        (shutil.copytree if sound.is_dir() else shutil.copyfile)(sound, copies[-1])
        hurt = inner[int(draw.integers(len(inner)))]
        to = copies[-1] / hurt.relative_to(sound) if sound.is_dir() else copies[-1]
        to.write_bytes(damaged(hurt.read_bytes(), draw))
    (tmp_path / "list").write_text("\n".join(map(str, copies)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "list")], capture_output=True, text=True, timeout=600
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.split()[0] not in ("READ", "REFUSED")] == []
    assert (len(lines), done.returncode) == (COPIES, 0), done.stderr[-2000:]
