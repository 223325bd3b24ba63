"""Encoders: raw columns to vectors, by the libraries that people have; nothing is downloaded."""

from workbench.sets.encoders import models  # noqa: F401 - the libraries register themselves
from workbench.sets.encoders.base import ENCODERS, Encoder, encoder, from_anywhere
from workbench.sets.encoders.embed import embed_table

__all__ = ["ENCODERS", "Encoder", "embed_table", "encoder", "from_anywhere"]
