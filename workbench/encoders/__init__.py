"""Encoders: raw columns to vectors, by the libraries that people have; nothing is downloaded."""

from workbench.encoders.base import ENCODERS, Encoder, encoder
from workbench.encoders.embed import embed_table

__all__ = ["ENCODERS", "Encoder", "embed_table", "encoder"]
