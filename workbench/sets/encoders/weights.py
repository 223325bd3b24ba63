"""Weights of a model by name, from this disk or the cache; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import InputError


def weights_file(given: str, repository: str, file: str) -> Path:
    """A file of weights: the one named, or that of a published tag where it is in the cache."""
    if given.endswith(".safetensors"):
        if not Path(given).is_file():
            raise InputError(f"{given}: no such file of weights")
        return Path(given)
    if "." in Path(given).name and Path(given).exists():
        raise InputError(f"{given}: weights are read from .safetensors only; other formats may run code when opened")
    if not repository:
        raise InputError(f"no published weights {given!r}; give a tag that has them, or a .safetensors file")
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        raise InputError(
            f"weights {given!r} are not on this disk, and nothing is downloaded: fetch them once with "
            f"'hf download {repository} {file}', or leave @{given} out for random weights"
        )
    return Path(found)
