"""Naive twins of the treatments: loops over float64, from the papers, sharing nothing with the package."""

import math

import numpy as np


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def csls(queries, keys, bank, k):
    """Conneau et al. 2018, eq. 3 without the term that is the same for all keys of a query: 2 cos − r(key)."""
    out = np.zeros((len(queries), len(keys)))
    for j, key in enumerate(keys):
        near = sorted((cosine(b, key) for b in bank), reverse=True)[:k]
        for i, q in enumerate(queries):
            out[i, j] = 2 * cosine(q, key) - sum(near) / len(near)
    return out


def inverted_softmax(queries, keys, bank, beta):
    """Smith et al. 2017, eq. 10, before the normaliser of the query: exp(β s) / Σ_bank exp(β s)."""
    out = np.zeros((len(queries), len(keys)))
    for j, key in enumerate(keys):
        under = sum(math.exp(beta * cosine(b, key)) for b in bank)
        for i, q in enumerate(queries):
            out[i, j] = math.exp(beta * cosine(q, key)) / under
    return out


def qb_norm(queries, keys, bank, beta):
    """Bogolin et al. 2022, sec. 3.3: the inverted softmax where a query's nearest key is in the activation set."""
    plain = np.array([[cosine(q, k) for k in keys] for q in queries])
    active = {max(range(len(keys)), key=lambda j: cosine(b, keys[j])) for b in bank}
    better = inverted_softmax(queries, keys, bank, beta)
    return np.array([better[i] if int(plain[i].argmax()) in active else plain[i] for i in range(len(queries))])


def dual_bank(queries, keys, bank, other, beta):
    """Wang et al. 2023: the product of the inverted softmax over a bank of queries and over one of keys."""
    return inverted_softmax(queries, keys, bank, beta) * inverted_softmax(queries, keys, other, beta)


def offset(queries, keys, asking, answering):
    """The cosine less the mean cosine of two banks."""
    mean = sum(cosine(a, b) for a in asking for b in answering) / (len(asking) * len(answering))
    return np.array([[cosine(q, k) - mean for k in keys] for q in queries])


def mixed_gain(queries, keys, own, i, cut=10):
    """nDCG of query i whose one match is key i, in an index of all keys and of the other queries, without ties."""
    best = cosine(queries[i], keys[i])
    above = sum(cosine(queries[i], k) > best for j, k in enumerate(keys) if j != i)
    above += sum(cosine(queries[i], o) > best for j, o in enumerate(own) if j != i)
    return 1 / math.log2(2 + above) if above < cut else 0.0


def int8(x, scale):
    """Codes of one vector: the nearest of 255 levels."""
    return [max(-127, min(127, round(v / scale))) for v in x]


def nearest_ten(query, keys, classes, own):
    """1 if the class of a query has most of its ten nearest keys, shared where classes tie."""
    order = sorted(range(len(keys)), key=lambda j: -cosine(query, keys[j]))[:10]
    votes = {}
    for j in order:
        votes[classes[j]] = votes.get(classes[j], 0) + 1
    top = [c for c, n in votes.items() if n == max(votes.values())]
    return (own in top) / len(top)
