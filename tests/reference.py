"""Naive twins: loops over items in float64, from the papers' formulas, sharing nothing with the package.

A set is given as {modality: [(item, vector), …]}; a twin returns the value of a diagnostic on one subject.
"""

import itertools
import math

import numpy as np


def unit(v):
    v = np.asarray(v, dtype=np.float64)
    return v / math.sqrt(sum(float(x) * float(x) for x in v))


def cos(a, b):
    return float(np.dot(unit(a), unit(b)))


def modality_gap(s, a, b):
    mean = {m: sum(unit(v) for _, v in s[m]) / len(s[m]) for m in (a, b)}
    return float(np.linalg.norm(mean[a] - mean[b]))


def relative_gap(s, a, b):
    spread = []
    for m in (a, b):
        mean = sum(unit(v) for _, v in s[m]) / len(s[m])
        spread.append(sum(float(np.sum((unit(v) - mean) ** 2)) for _, v in s[m]) / len(s[m]))
    return modality_gap(s, a, b) / math.sqrt(sum(spread) / 2)


def _matches(s, *modalities):
    items = sorted({i for i, _ in s[modalities[0]]})
    for item in items:
        yield from itertools.product(*([unit(v) for i, v in s[m] if i == item] for m in modalities))


def alignment(s, a, b, alpha=2.0):
    d = [np.linalg.norm(x - y) ** alpha for x, y in _matches(s, a, b)]
    return float(np.mean(d))


def matched_cosine(s, a, b):
    return float(np.mean([x @ y for x, y in _matches(s, a, b)]))


def gramian_volume(s, *modalities):
    volumes = []
    for rows in _matches(s, *modalities):
        x = np.stack(rows)
        volumes.append(math.sqrt(max(np.linalg.det(x @ x.T), 0.0)))
    return float(np.mean(volumes))


def _log_potential(rows, t):
    total = count = 0
    for i, x in enumerate(rows):
        for j, y in enumerate(rows):
            if i != j:
                total += math.exp(-t * float(np.sum((x - y) ** 2)))
                count += 1
    return math.log(total / count)


def uniformity(s, a, t=2.0):
    return _log_potential([unit(v) for _, v in s[a]], t)


def uniformity_joint(s, *modalities, t=2.0):
    return _log_potential([unit(v) for m in modalities for _, v in s[m]], t)


def effective_rank(s, a):
    x = np.stack([unit(v) for _, v in s[a]])
    sigma = np.linalg.svd(x - x.mean(0), compute_uv=False)
    p = sigma[sigma > 1e-12 * sigma[0]]
    p = p / p.sum()
    return float(math.exp(-sum(q * math.log(q) for q in p)))


def _ranks(s, a, b):
    """Per query with a match: keys of other items above the best match, and those that tie with it."""
    for item, q in s[a]:
        mine = [cos(q, k) for i, k in s[b] if i == item]
        if mine:
            others = [cos(q, k) for i, k in s[b] if i != item]
            best = max(mine)
            yield sum(o > best + 1e-12 for o in others), sum(abs(o - best) <= 1e-12 for o in others)


def _recall(s, a, b, k):
    return float(np.mean([min(max((k - g) / (t + 1), 0), 1) for g, t in _ranks(s, a, b)]))


def recall_at_1(s, a, b):
    return _recall(s, a, b, 1)


def recall_at_5(s, a, b):
    return _recall(s, a, b, 5)


def recall_at_10(s, a, b):
    return _recall(s, a, b, 10)


def median_rank(s, a, b):
    return float(np.median([1 + g + t / 2 for g, t in _ranks(s, a, b)]))


def volume_recall_at_1(s, *modalities):
    anchor, *others = modalities
    first = [{i: unit(v) for i, v in reversed(s[m])} for m in others]  # the first row of an item wins
    items = sorted(set.intersection({i for i, _ in s[anchor]}, *(set(f) for f in first)))

    def vol(q, j):
        x = np.stack([q, *(f[j] for f in first)])
        return math.sqrt(max(np.linalg.det(x @ x.T), 0.0))

    hits = []
    for i, v in s[anchor]:
        if i in items:
            q = unit(v)
            mine = vol(q, i)
            below = sum(vol(q, j) < mine - 1e-7 for j in items if j != i)
            tied = sum(abs(vol(q, j) - mine) <= 1e-7 for j in items if j != i)
            hits.append(min(max((1 - below) / (tied + 1), 0), 1))
    return float(np.mean(hits))


def _avqi(clusters, pairs):
    mu = [sum(c) / len(c) for c in clusters]
    spread = [sum(np.linalg.norm(x - m) for x in c) / len(c) for c, m in zip(clusters, mu, strict=True)]
    widest = max(np.linalg.norm(x - y) for c in clusters for x in c for y in c)

    def dbs(a, b):
        return np.linalg.norm(mu[a] - mu[b]) / (spread[a] + spread[b] + 1e-8)

    dunn = min(np.linalg.norm(mu[a] - mu[b]) for a, b in pairs) / (widest + 1e-8)
    guard = 1e-8  # what keeps a perfect merge finite
    return float(0.5 * (1 / (dbs(0, 1) + guard) + 1 / (dbs(0, 2) + guard)) + 1 / (dunn + guard))


def avqi_released(clusters):
    return _avqi(clusters, [(0, 1), (0, 2), (1, 2)])


def avqi_safe_vs_adversarial(clusters):
    return _avqi(clusters, [(0, 1), (0, 2)])


def infonce(batch, temperature, smoothing=0.0):
    losses = []
    for a, b in itertools.permutations(batch, 2):
        losses.append(_softmax([[cos(x, y) / temperature for y in batch[b]] for x in batch[a]], smoothing))
    return sum(losses) / len(losses)


def gram(batch, temperature, smoothing=0.1):
    anchor, *others = batch.values()
    n = len(anchor)
    score = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            x = np.stack([unit(anchor[i]), *(unit(o[j]) for o in others)])
            score[i][j] = -math.sqrt(max(np.linalg.det(x @ x.T), 0.0)) / temperature
    back = [list(c) for c in zip(*score, strict=True)]
    return (_softmax(score, smoothing) + _softmax(back, smoothing)) / 2


def _softmax(score, smoothing):
    loss = 0.0
    for i, row in enumerate(score):
        norm = math.log(sum(math.exp(s - max(row)) for s in row)) + max(row)
        for j, s in enumerate(row):
            weight = (1 - smoothing) * (i == j) + smoothing / len(row)
            loss -= weight * (s - norm)
    return loss / len(score)
