"""The manifest of a saved set: what the folder holds, and a digest of each file, so that damage has a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.disk import write_text
from workbench.errors import InputError
from workbench.sets.checks import NAME

FORMAT, VERSION = "workbench.embedding_set", 1
FILE = "manifest.json"
AT_ONCE = 1 << 30  # bytes of a set that are checked whenever it is opened: a second or less


def check_place(path: Path) -> None:
    """Refuse to write a set over something that is none; asked before long work too."""
    if path.exists() and not (path / FILE).exists():
        raise InputError(f"{path}: exists and is no embedding set; choose another name, nothing was written")


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what a folder holds, with the digests of its files and of the manifest itself."""
    files = {f.name: digest(f) for f in sorted(folder.iterdir()) if f.name != FILE}
    whole = {"format": FORMAT, "version": VERSION, **about, "files": files}
    (folder / FILE).write_text(json.dumps(whole | {"digest": _of(whole)}, indent=2) + "\n")


def amend_manifest(path: Path, about: Mapping[str, Any]) -> None:
    """Say more of a saved set, whose files stay as they are."""
    whole = {k: v for k, v in read_manifest(path).items() if k != "digest"} | dict(about)
    write_text(path / FILE, json.dumps(whole | {"digest": _of(whole)}, indent=2) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a saved set; raises `InputError` where it is none, or was changed."""
    file = path / FILE
    try:
        manifest = json.loads(file.read_text())
        if manifest["format"] != FORMAT or not isinstance(manifest["modalities"], dict):
            raise KeyError
        if ("files" in manifest or "digest" in manifest) and manifest.get("digest") != _of(manifest):
            raise InputError(f"{file}: damaged or edited, it does not match its own digest; write the set again")
    except FileNotFoundError:
        raise InputError(f"{path}: no manifest.json, so no embedding set; see 'workbench diagnose --help'") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file}: not the manifest of an embedding set; write the set again") from None
    if manifest["version"] > VERSION:
        raise InputError(f"{path}: format version {manifest['version']} is newer than this program; update workbench")
    for name in manifest["modalities"]:
        if not NAME.fullmatch(name):
            raise InputError(f"{file}: {name!r} is no modality name")
    return manifest


def check_files(path: Path, manifest: Mapping[str, Any], *, whatever_size: bool = False) -> int:
    """Compare each file with its digest; how many were compared: none where the set is large, or older than digests.

    Raises `InputError` with the name of the first file that is missing or differs.
    """
    files = manifest.get("files", {})
    for name in files:
        if not (path / name).is_file():
            raise InputError(f"{path / name}: no such file, though the manifest names it; write the set again")
    if not whatever_size and sum((path / name).stat().st_size for name in files) > AT_ONCE:
        return 0
    for name, known in files.items():
        if digest(path / name) != known:
            raise InputError(f"{path / name}: damaged, its content is not what was saved; write the set again")
    return len(files)


def digest(file: Path) -> str:
    """Thirty-two hex digits of a file's content."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _of(manifest: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in manifest.items() if k != "digest"}
    return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16).hexdigest()
