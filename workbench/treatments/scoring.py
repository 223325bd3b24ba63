"""Treatments of scores: what is taken from the score of a key that is near to everything.

The bank of queries is taken from the train items, never from the queries that are judged: a bank of test queries knows
which keys will be asked for. Each correction is one number a key and asking modality, so it ships as a coordinate.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet
from workbench.treatments.base import MIXED, RETRIEVAL, SCORES, Making, method, moved
from workbench.treatments.portable import Treatment

BANK = 10_000  # rows of a modality at most
BETAS = [{"beta": b} for b in (10.0, 20.0, 40.0, 80.0)]
LEAST = 20  # rows of a bank


def _banked(es: EmbeddingSet, start: Treatment, **bias: object) -> Making:
    """A bias from the train rows of every modality that may ask."""
    making = Making.on(start)
    for m in es.modalities:
        x = moved(es, start, m)
        if len(x) < LEAST:
            raise InputError(f"a bank needs {LEAST} rows, and {m} has {len(x)} to fit on")
        at = np.sort(np.random.default_rng(0).permutation(len(x))[:BANK])
        making.keep(f"bank.{m}", x[at])
    making.bias = dict(bias)
    return making


@method(SCORES, (RETRIEVAL, MIXED), grid=[{"k": k} for k in (5, 10, 50)])
def csls(es: EmbeddingSet, start: Treatment, k: int) -> Making:
    """Take half of a key's mean cosine to its k nearest bank queries from its scores (CSLS, Conneau et al. 2018)."""
    return _banked(es, start, form="csls", k=k)


@method(SCORES, (RETRIEVAL, MIXED), grid=BETAS)
def inverted_softmax(es: EmbeddingSet, start: Treatment, beta: float) -> Making:
    """Divide each key's share by what the bank's queries would give it (inverted softmax, Smith et al. 2017)."""
    return _banked(es, start, form="softmax", beta=beta)


@method(SCORES, (RETRIEVAL,), grid=BETAS)
def qb_norm(es: EmbeddingSet, start: Treatment, beta: float) -> Making:
    """Inverted softmax for queries whose nearest key is also a bank query's (QB-Norm, Bogolin et al. 2022)."""
    return _banked(es, start, form="softmax", beta=beta, gated=True)


@method(SCORES, (RETRIEVAL,), grid=BETAS)
def dual_bank(es: EmbeddingSet, start: Treatment, beta: float) -> Making:
    """Inverted softmax over a bank of queries and one of keys, multiplied (DBNorm, Wang et al. 2023)."""
    return _banked(es, start, form="dual", beta=beta)


@method(SCORES, (MIXED,))
def calibrate(es: EmbeddingSet, start: Treatment) -> Making:
    """Take from each score the mean score of its two modalities, so that all keys of one index compete alike."""
    making = Making.on(start)
    means = [moved(es, start, m).mean(0, dtype=np.float64) for m in es.modalities]
    offset = np.array([float(a @ b) for a, b in product(means, repeat=2)])
    making.keep("offset", offset.reshape(len(means), -1))
    making.bias = {"form": "offset"}
    return making
