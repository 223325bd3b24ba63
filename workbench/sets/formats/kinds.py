"""Which format a path holds, told by its content; by its name only where the content does not say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.errors import InputError
from workbench.sets.formats import arrays, scientific, tar
from workbench.sets.formats import columnar as tables
from workbench.sets.formats.source import Arrays, Table

READERS: dict[str, tuple[str, Callable[[Path], Arrays | Table]]] = {
    "npy": ("one array of numpy", arrays.npy),
    "npy folder": ("a folder of .npy files, each a modality or a column", arrays.npy_folder),
    "npz": ("arrays of numpy, compressed or not", arrays.npz),
    "safetensors": ("tensors by name", arrays.safetensors),
    "torch": ("a dict of tensors by torch.save, read with weights_only", arrays.torch_file),
    "parquet": ("Parquet", lambda p: tables.parquet_files([p], str(p))),
    "parquet folder": ("a folder of Parquet files", lambda p: tables.parquet_files(parts(p, "parquet"), str(p))),
    "arrow": ("Arrow IPC or Feather", lambda p: tables.arrow_files([p], str(p))),
    "arrow folder": ("a folder of Arrow files", lambda p: tables.arrow_files(parts(p, "arrow"), str(p))),
    "datasets": ("Hugging Face datasets, save_to_disk", tables.datasets_folder),
    "lance": ("Lance, or a table of LanceDB (extra: lance)", tables.lance),
    "hdf5": ("HDF5, AnnData .h5ad, MuData .h5mu (extra: hdf5)", scientific.hdf5),
    "zarr": ("Zarr (extra: zarr)", scientific.zarr),
    "projector": ("TensorBoard's projector: vectors.tsv, metadata.tsv", arrays.projector),
    "webdataset": ("WebDataset, img2dataset: .tar shards with .npy in them", tar.webdataset),
    "clip": ("clip-retrieval and LAION: img_emb/, text_emb/, metadata/", arrays.clip_folder),
}


def kind_of(path: Path) -> str:
    """Which format a path holds, by its content; by its name only where the content does not say."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> str:
    names = {p.name for p in path.iterdir()}
    if names & {"zarr.json", ".zgroup", ".zarray"}:
        return "zarr"
    if "_versions" in names or path.suffix == ".lance":
        return "lance"
    if names & {"state.json", "dataset_dict.json"}:
        return "datasets"
    if names & {"img_emb", "text_emb"} or any(n.startswith(("img_emb_", "text_emb_")) for n in names):
        return "clip"
    if any(n.endswith("vectors.tsv") for n in names):
        return "projector"
    for kind, end in (
        ("webdataset", ".tar"),
        ("parquet folder", ".parquet"),
        ("arrow folder", ".arrow"),
        ("npy folder", ".npy"),
    ):
        if any(n.endswith(end) for n in names):
            return kind
    raise InputError(
        f"{path}: nothing in it that is known: neither a set (manifest.json), nor a run (snapshots/), nor "
        + ", ".join(READERS)
    )


def _file(path: Path) -> str:
    with path.open("rb") as f:
        head = f.read(16)
    suffix = path.suffix.lower()
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:4] == b"PK\x03\x04":
        return "torch" if suffix in (".pt", ".pth", ".bin", ".ckpt") or _holds_pickle(path) else "npz"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if suffix in BY_NAME:
        return BY_NAME[suffix]  # cut short, or damaged: its reader says how
    if head[:1] == b"\x80":
        raise InputError(f"{path}: is a pickle, which is never read; save plain arrays")
    if head[:4] == b"FEA1":
        raise InputError(f"{path}: the first version of Feather; write it again as Feather 2, Arrow or Parquet")
    raise InputError(f"{path}: cannot read {suffix or 'a file without suffix'}; known: {', '.join(READERS)}")


BY_NAME = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".h5ad": "hdf5",
    ".h5mu": "hdf5",
    ".tsv": "projector",
    ".tar": "webdataset",
}


def _holds_pickle(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as z:
            return any(n.endswith("data.pkl") for n in z.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def parts(path: Path, end: str) -> list[Path]:
    return sorted(path.glob(f"*.{end}"))
