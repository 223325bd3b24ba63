"""Naive twins: loops over items in float64, from the papers' formulas, sharing nothing with the package.

A set is given as {modality: [(item, vector), …]}; a twin returns the value of a diagnostic on one scope.
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


def fused(s, name):
    """Sum of the first unit rows of the parts, for the items that have all."""
    if "+" not in name:
        return s[name]
    first = [{i: unit(v) for i, v in reversed(s[m])} for m in name.split("+")]
    return [(i, sum(f[i] for f in first)) for i in sorted(set.intersection(*(set(f) for f in first)))]


def _ranks(s, a, b):
    """Per query with a match: keys of other items above the best match, and those that tie with it."""
    for item, q in fused(s, a):
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


def volume_recall_at_1(s, *modalities, anchor=""):
    anchor = anchor or modalities[0]
    others = [m for m in modalities if m != anchor]
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
    little = 1e-8 * max([widest, *(np.linalg.norm(x - y) for x in mu for y in mu)])  # released: 1e-8, of any scale

    def dbs(a, b):
        return np.linalg.norm(mu[a] - mu[b]) / (spread[a] + spread[b] + little)

    dunn = min(np.linalg.norm(mu[a] - mu[b]) for a, b in pairs) / (widest + little)
    guard = 1e-8  # what keeps a perfect merge finite
    return float(0.5 * (1 / (dbs(0, 1) + guard) + 1 / (dbs(0, 2) + guard)) + 1 / (dunn + guard))


def avqi_released(clusters):
    return _avqi(clusters, [(0, 1), (0, 2), (1, 2)])


def avqi_safe_vs_adversarial(clusters):
    return _avqi(clusters, [(0, 1), (0, 2)])


def raw_gap(s, a, b):
    mean = {m: sum(np.asarray(v) for _, v in s[m]) / len(s[m]) for m in (a, b)}
    return float(np.linalg.norm(mean[a] - mean[b]))


def centroid_cosine(s, a, b):
    mean = {m: sum(unit(v) for _, v in s[m]) / len(s[m]) for m in (a, b)}
    return cos(mean[a], mean[b])


def matched_distance(s, a, b):
    return alignment(s, a, b, alpha=1.0)


def modality_separability(s, a, b, half):
    right = {a: [], b: []}
    for judged in (0, 1):
        taught = {m: np.array([unit(v) for i, v in s[m] if half[i] != judged]) for m in (a, b)}
        mu = {m: x.mean(0) for m, x in taught.items()}
        within = sum((x - mu[m]).T @ (x - mu[m]) for m, x in taught.items())
        d, taught_rows = len(within), sum(map(len, taught.values()))
        w = np.linalg.solve(within + 1e-3 * np.trace(within) / min(d, taught_rows) * np.eye(d), mu[a] - mu[b])
        for m, sign in ((a, 1), (b, -1)):
            right[m] += [sign * float((unit(v) - (mu[a] + mu[b]) / 2) @ w) > 0 for i, v in s[m] if half[i] == judged]
    return float(np.mean(right[a]) + np.mean(right[b])) / 2


def frechet_distance(s, a, b):
    from scipy.linalg import sqrtm

    x, y = (np.array([unit(v) for _, v in s[m]]) for m in (a, b))
    if min(len(x), len(y)) < 10 * x.shape[1]:
        return math.nan
    cx, cy = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cx + cy - 2 * np.real(sqrtm(cx @ cy))))


def _kernel_mean(xs, ys, t, skip):
    total = count = 0
    for i, x in xs:
        for j, y in ys:
            if not skip(i, x, j, y):
                total += math.exp(-t * float(np.sum((unit(x) - unit(y)) ** 2)))
                count += 1
    return total / count


def mmd_squared(s, a, b, t=2.0):
    def same_row(i, x, j, y):
        return x is y

    def same_item(i, x, j, y):
        return i == j

    xx, yy = (_kernel_mean(s[m], s[m], t, same_row) for m in (a, b))
    return xx + yy - 2 * _kernel_mean(s[a], s[b], t, same_item)


def uniformity_cross(s, a, b, t=2.0):
    return math.log(_kernel_mean(s[a], s[b], t, lambda i, x, j, y: i == j))


def _moment_ratios(s, a, b):
    r = np.array([x - y for x, y in _matches(s, a, b)])
    r = r - r.mean(0)
    for column in r.T:
        variance = sum(v**2 for v in column) / len(column)
        skew = sum(v**3 for v in column) / len(column) / variance**1.5
        yield skew, sum(v**4 for v in column) / len(column) / variance**2 - 3


def gap_skewness(s, a, b):
    return float(np.mean([abs(skew) for skew, _ in _moment_ratios(s, a, b)]))


def gap_kurtosis(s, a, b):
    return float(np.mean([kurtosis for _, kurtosis in _moment_ratios(s, a, b)]))


def gap_dimensions(s, a, b, share=0.5):
    mean = {m: sum(unit(v) for _, v in s[m]) / len(s[m]) for m in (a, b)}
    squares = sorted(((mean[a] - mean[b]) ** 2).tolist(), reverse=True)
    held, count = 0.0, 0
    while held < share * sum(squares):
        held += squares[count]
        count += 1
    return float(count)


def cosine_margin(s, a, b):
    same = [cos(x, y) for i, x in s[a] for j, y in s[b] if i == j]
    other = [cos(x, y) for i, x in s[a] for j, y in s[b] if i != j]
    return float(np.mean(same) - np.mean(other))


def triangle_area(s, *modalities):
    areas = []
    for p, q, r in _matches(s, *modalities):
        a, b, c = np.linalg.norm(p - q), np.linalg.norm(q - r), np.linalg.norm(r - p)
        h = (a + b + c) / 2  # Heron
        areas.append(math.sqrt(max(h * (h - a) * (h - b) * (h - c), 0.0)))
    return float(np.mean(areas))


def singular_concentration(s, *modalities):
    shares = []
    for rows in _matches(s, *modalities):
        sigma = np.linalg.svd(np.stack(rows), compute_uv=False)
        shares.append(float(sigma[0] ** 2 / np.sum(sigma**2)))
    return float(np.mean(shares))


def pairwise_joint_disagreement(s, *modalities):
    anchor, *others = modalities
    if len(others) < 2:
        return math.nan
    first = [{i: unit(v) for i, v in reversed(s[m])} for m in others]
    items = sorted(set.intersection({i for i, _ in s[anchor]}, *(set(f) for f in first)))

    def vol(q, j):
        x = np.stack([q, *(f[j] for f in first)])
        return math.sqrt(max(np.linalg.det(x @ x.T), 0.0))

    differ = []
    for i, v in s[anchor]:
        if i in items:
            joint = all(vol(unit(v), j) > vol(unit(v), i) + 1e-7 for j in items if j != i)
            pairs = all(
                max(cos(v, k) for j, k in s[m] if j == i) > cos(v, k2) + 1e-12
                for m in others
                for j2, k2 in s[m]
                if j2 != i
            )
            differ.append(joint != pairs)
    return float(np.mean(differ))


def mean_cosine(s, a):
    return float(np.mean([cos(x, y) for i, (_, x) in enumerate(s[a]) for j, (_, y) in enumerate(s[a]) if i != j]))


def resultant_length(s, a):
    return float(np.linalg.norm(sum(unit(v) for _, v in s[a]) / len(s[a])))


def rankme(s, a):
    sigma = np.linalg.svd(np.stack([v for _, v in s[a]]), compute_uv=False)
    p = [float(x) / float(sigma.sum()) + 1e-7 for x in sigma]
    return math.exp(-sum(x * math.log(x) for x in p))


def _variances(s, a):
    x = np.stack([unit(v) for _, v in s[a]])
    return np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2


def participation_ratio(s, a):
    v = _variances(s, a)
    return float(v.sum() ** 2 / (v**2).sum())


def explained_dimensions(s, a, share=0.9):
    v, held, count = _variances(s, a), 0.0, 0
    while held < share * v.sum() - 1e-12:
        held += v[count]
        count += 1
    return float(count)


def isoscore(s, a):
    x = np.stack([v for _, v in s[a]])
    variance = np.linalg.eigvalsh(np.cov(x.T))
    d = len(variance)
    scaled = variance * math.sqrt(d) / np.linalg.norm(variance)
    defect = np.linalg.norm(scaled - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    return float(((d - defect**2 * (d - math.sqrt(d))) ** 2 / d - 1) / (d - 1))


def twonn_dimension(s, a):
    ratios, points = [], []
    for i, x in s[a]:
        if not any(i != j and np.linalg.norm(unit(x) - y) <= 1e-6 for j, y in points):
            points.append((i, unit(x)))
    for i, x in points:
        r = sorted(float(np.linalg.norm(x - y)) for j, y in points if j != i)
        ratios.append(r[1] / r[0])
    ratios.sort()
    n = len(ratios)
    top = bottom = 0.0
    for k in range(int(n * 0.9)):
        x, y = math.log(ratios[k]), -math.log(1 - (k + 1) / n)
        top, bottom = top + x * y, bottom + x * x
    return top / bottom


def _neighbours(s, a, b, k=10):
    """Per query row of a: its item, and the positions of its nearest rows of b, of other items only where b is a."""
    for item, q in s[a]:
        keys = [(round(-cos(q, y) / 1e-12), j) for j, (i, y) in enumerate(s[b]) if a != b or i != item]
        yield item, [j for _, j in sorted(keys)[:k]]


def _occurrences(s, a, b):
    count = [0] * len(s[b])
    for _, near in _neighbours(s, a, b):
        for j in near:
            count[j] += 1
    return np.array(count, dtype=np.float64)


def _skew(x):
    r = x - x.mean()
    return float((r**3).mean() / (r**2).mean() ** 1.5)


def hubness(s, a, b):
    return _skew(_occurrences(s, a, b))


def hubness_within(s, a):
    return _skew(_occurrences(s, a, a))


def antihub_share(s, a, b):
    return float(np.mean(_occurrences(s, a, b) == 0))


def mutual_knn(s, a, b):
    near = {}
    for m in (a, b):
        near[m] = {}
        for item, js in _neighbours(s, m, m):
            near[m].setdefault(item, [s[m][j][0] for j in js])
    shares = []
    for item in sorted(set(near[a]) & set(near[b])):
        x, y = ([j for j in near[m][item] if j in near[o]] for m, o in ((a, b), (b, a)))
        if not x or not y:
            shares.append((sum(j in y for j in x) / max(len(x), 1) + sum(j in x for j in y) / max(len(y), 1)) / 2)
            continue
        shares.append((sum(j in y for j in x) / len(x) + sum(j in x for j in y) / len(y)) / 2)
    return float(np.mean(shares))


def duplicate_rate(s, a, cosine=1 - 1e-6):
    return float(np.mean([max(cos(x, y) for j, y in s[a] if j != i) >= cosine for i, x in s[a]]))


def near_duplicate_rate(s, a, cosine=0.95):
    return duplicate_rate(s, a, cosine)


def false_negative_rate(s, a, b, label):
    shares = []
    for item, near in _neighbours(s, a, b):
        wrong = [s[b][j][0] for j in near if s[b][j][0] != item]
        if wrong and label[item] is not None:
            shares.append(sum(label[i] == label[item] for i in wrong) / len(wrong))
    return float(np.mean(shares))


def mrr(s, a, b):
    return float(np.mean([np.mean([1 / (g + 1 + x) for x in range(t + 1)]) for g, t in _ranks(s, a, b)]))


def mixed_recall_at_1(s, a, b):
    hits = []
    for item, q in s[a]:
        mine = [cos(q, k) for i, k in s[b] if i == item]
        if mine:
            others = [cos(q, k) for m in (a, b) for i, k in s[m] if i != item]
            above, tied = sum(o > max(mine) + 1e-12 for o in others), sum(abs(o - max(mine)) <= 1e-12 for o in others)
            hits.append(min(max((1 - above) / (tied + 1), 0), 1))
    return float(np.mean(hits))


def ndcg_at_10(s, a, b):
    values = []
    for item, q in s[a]:
        mine = sorted((cos(q, k) for i, k in s[b] if i == item), reverse=True)
        if not mine:
            continue
        others = [cos(q, k) for i, k in s[b] if i != item]
        gain = 0.0
        for better, m in enumerate(mine[:10]):
            above, tied = sum(o > m + 1e-12 for o in others), sum(abs(o - m) <= 1e-12 for o in others)
            ranks = [1 + better + above + x for x in range(tied + 1)]
            gain += sum(1 / math.log2(1 + r) for r in ranks if r <= 10) / len(ranks)
        values.append(gain / sum(1 / math.log2(1 + j) for j in range(1, min(len(mine), 10) + 1)))
    return float(np.mean(values))


def _classes(s, m, label, raw=False):
    found = {}
    for i, v in s[m]:
        if label[i] is not None:
            found.setdefault(label[i], []).append(np.asarray(v, dtype=np.float64) if raw else unit(v))
    return [found[c] for c in sorted(found)]


def silhouette(s, m, label):
    clusters, values = _classes(s, m, label), []
    for c, cluster in enumerate(clusters):
        for i, x in enumerate(cluster):
            if len(cluster) == 1:
                values.append(0.0)
                continue
            a = sum(np.linalg.norm(x - y) for j, y in enumerate(cluster) if j != i) / (len(cluster) - 1)
            b = min(np.mean([np.linalg.norm(x - y) for y in o]) for k, o in enumerate(clusters) if k != c)
            values.append((b - a) / max(a, b))
    return float(np.mean(values))


def davies_bouldin(s, m, label):
    clusters = _classes(s, m, label)
    mu = [np.mean(c, 0) for c in clusters]
    spread = [np.mean([np.linalg.norm(x - u) for x in c]) for c, u in zip(clusters, mu, strict=True)]
    worst = [
        max((spread[i] + spread[j]) / np.linalg.norm(mu[i] - mu[j]) for j in range(len(mu)) if j != i)
        for i in range(len(mu))
    ]
    return float(np.mean(worst))


def calinski_harabasz(s, m, label):
    clusters = _classes(s, m, label)
    every = np.concatenate(clusters)
    between = sum(len(c) * np.sum((np.mean(c, 0) - every.mean(0)) ** 2) for c in clusters)
    within = sum(np.sum((x - np.mean(c, 0)) ** 2) for c in clusters for x in c)
    return float(between / (len(clusters) - 1) / (within / (len(every) - len(clusters))))


def neural_collapse_within(s, m, label):
    clusters = _classes(s, m, label)
    mu = np.array([np.mean(c, 0) for c in clusters])
    r = mu - mu.mean(0)
    n = sum(len(c) for c in clusters)
    within = sum(np.outer(x - u, x - u) for c, u in zip(clusters, mu, strict=True) for x in c) / n
    between = sum(np.outer(x, x) for x in r) / len(r)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-12)) / len(r))


def neural_collapse_angles(s, m, label):
    mu = np.array([np.mean(c, 0) for c in _classes(s, m, label)])
    r = mu - mu.mean(0)
    c = len(r)
    return float(np.mean([abs(cos(r[i], r[j]) + 1 / (c - 1)) for i in range(c) for j in range(c) if i != j]))


def nearest_centroid_accuracy(s, m, label):
    clusters = _classes(s, m, label)
    mu = [np.mean(c, 0) for c in clusters]
    hits = [np.argmin([np.linalg.norm(x - u) for u in mu]) == k for k, c in enumerate(clusters) for x in c]
    return float(np.mean(hits))


def knn_label_accuracy(s, m, label):
    hits = []
    known = {m: [(i, v) for i, v in s[m] if label[i] is not None]}
    for item, q in known[m]:
        near = sorted((round(-cos(q, y) / 1e-12), label[i]) for i, y in known[m] if i != item)
        edge = near[:10][-1][0]
        votes = {v: 0.0 for _, v in near}
        tied = [v for c, v in near if c == edge]
        for c, v in near:
            if c < edge:
                votes[v] += 1
        for v in tied:  # those that tie for the last places share them
            votes[v] += (min(10, len(near)) - sum(c < edge for c, _ in near)) / len(tied)
        if not any(i != item and label[i] == label[item] for i, _ in known[m]):
            continue  # a class of one item: nobody could vote for it
        winners = {v for v, n in votes.items() if n >= max(votes.values()) - 1e-9}
        hits.append((label[item] in winners) / len(winners))
    return float(np.mean(hits))


def linear_probe_accuracy(s, m, label, half):
    rows = [(i, unit(v)) for i, v in s[m] if label[i] is not None]
    names = sorted({label[i] for i, _ in rows})
    hits = []
    for judged in (0, 1):
        x = np.array([v for i, v in rows if half[i] != judged])
        y = np.array([[float(label[i] == c) for c in names] for i, _ in rows if half[i] != judged])
        centred = x - x.mean(0)
        scatter = centred.T @ centred
        d = len(scatter)
        w = np.linalg.solve(
            scatter + 1e-3 * np.trace(scatter) / min(d, len(x)) * np.eye(d), centred.T @ (y - y.mean(0))
        )
        for i, v in rows:
            if half[i] == judged:
                hits.append(names[int(np.argmax((v - x.mean(0)) @ w + y.mean(0)))] == label[i])
    return float(np.mean(hits))


def _separation(clusters, separations, pairs, widest):
    guard = 1e-8
    mu = [sum(c) / len(c) for c in clusters]
    spread = [sum(np.linalg.norm(x - m) for x in c) / len(c) for c, m in zip(clusters, mu, strict=True)]
    distance = {(a, b): np.linalg.norm(mu[a] - mu[b]) for a in range(len(mu)) for b in range(len(mu))}
    true = max(np.linalg.norm(x - y) for c in clusters for x in c for y in c)
    little = guard * max(true, *distance.values())
    dbs = [distance[p] / (spread[p[0]] + spread[p[1]] + little) for p in separations]
    dunn = min(distance[p] for p in pairs) / (widest + little)
    return float(np.mean([1 / (x + guard) for x in dbs]) + 1 / (dunn + guard))


def cluster_separation(s, m, label):
    clusters = _classes(s, m, label, raw=True)
    every = list(itertools.combinations(range(len(clusters)), 2))
    widest = max(np.linalg.norm(x - y) for c in clusters for x in c for y in c)
    return _separation(clusters, every, every, widest)


def avqi_quantile(clusters):
    far = []
    for c in clusters:
        d = sorted(np.linalg.norm(x - y) for i, x in enumerate(c) for j, y in enumerate(c) if i != j)
        far.append(d[math.ceil(0.95 * len(d)) - 1])
    pairs = [(0, 1), (0, 2)]
    return _separation(clusters, pairs, pairs, max(far))


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


def kernel_padding(rows, distance, count, width=1.0):
    """Rows to add, after CAPIMAC: matches in the order of their distance, a row into each of the largest jumps."""
    order = sorted(range(len(rows)), key=lambda k: distance[k])
    jumps = [(distance[order[k + 1]] - distance[order[k]], k) for k in range(len(order) - 1)]
    made = []
    for k in sorted(k for _, k in sorted(jumps, key=lambda j: (-j[0], j[1]))[:count]):
        weights = [math.exp(-(((k + 0.5 - j) / width) ** 2) / 2) for j in range(len(order))]
        total = sum(weights)
        made.append(
            [sum(w * rows[i][c] for w, i in zip(weights, order, strict=True)) / total for c in range(len(rows[0]))]
        )
    return made


def sequential_worlds(looks, shared, effect, least, sd, worlds, seed, level=0.05):
    """Worlds in which one claim is tested: runs on one set share a part of their chance, and it is looked after some
    of them, each look at its share of the level; the share of worlds by their verdict.
    """
    from scipy import stats

    draw, found = np.random.default_rng(seed), {"held": 0, "not held": 0, "open": 0}
    rho = shared / (1 + shared)
    for _ in range(worlds):
        common = draw.normal() * math.sqrt(rho / (1 - rho)) * sd
        runs = [effect + common + draw.normal() * sd for _ in range(max(looks))]
        verdict = "open"
        for n, share in looks.items():
            part = runs[:n]
            mean = sum(part) / n
            variance = sum((x - mean) ** 2 for x in part) / (n - 1)
            t = (mean - least) / math.sqrt(variance * (1 / n + shared))
            if 2 * stats.t.sf(abs(t), n - 1) < level * share:
                verdict = "held" if t > 0 else "not held"
                break
        found[verdict] += 1
    return {k: x / worlds for k, x in found.items()}
