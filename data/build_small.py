"""Make dna.parquet and spectra.parquet: python data/build_small.py rRNA16S.gold.fasta

The FASTA file is in Debian's package microbiomeutil-data; the spectra are those of `workbench data spectra`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.sets.package_sets import build_set

HERE = Path(__file__).parent
GENERA = 600  # one sequence a genus


def dna(fasta: Path) -> pd.DataFrame:
    """One 16S rRNA gene a genus, the first in the file whose letters are A, C, G and T only."""
    rows: dict[str, dict] = {}
    for entry in fasta.read_text(errors="replace")[1:].split("\n>"):
        head, letters = entry.split("\n", 1)
        parts = head.split("\t")
        ranks = [r.strip() for r in parts[-1].split(";")]
        sequence = letters.replace("\n", "")
        if len(ranks) < 6 or set(sequence) - set("ACGT") or not 1300 <= len(sequence) <= 1700:
            continue
        genus = ranks[-1]
        rows.setdefault(
            genus, {"id": parts[0], "genus": genus, "phylum": ranks[1], "name": parts[1].strip(), "sequence": sequence}
        )
    return pd.DataFrame(list(rows.values())[:GENERA])


def spectra() -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as scratch:
        es = build_set("spectra", Path(scratch) / "spectra")
        rows = np.asarray(es["spectrum"], np.float32)
    # every second point, each spectrum from 0 to 1: shape is what the experiment needs
    rows = rows[:, ::2]
    low, high = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
    scaled = ((rows - low) / (high - low)).astype(np.float16)
    return es.items[["id", "family", "name", "label"]].assign(spectrum=list(scaled))


if __name__ == "__main__":
    dna(Path(sys.argv[1])).to_parquet(HERE / "dna.parquet", compression="zstd", index=False)
    spectra().to_parquet(HERE / "spectra.parquet", compression="zstd", index=False)
