"""Naive twins of the recipes: loops in float64, from the papers' formulas, sharing nothing with the package.

A twin is given {modality: rows}, the temperature, and whatever else it names: `labels`, `teacher`, `negatives`,
`tokens`, `there` (masks of tokens), and the objective's own parameters as arrays, `own`.
"""

import itertools
import math

import numpy as np


def unit(v):
    v = np.asarray(v, dtype=np.float64)
    return v / math.sqrt(sum(float(x) * float(x) for x in v))


def units(rows):
    return [unit(v) for v in rows]


def lse(values):
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def softmax(values):
    z = lse(values)
    return [math.exp(v - z) for v in values]


def ce(row, target):
    return lse(row) - row[target]


def sce(row, weights):
    z = lse(row)
    return sum(w * (z - s) for w, s in zip(weights, row, strict=True))


def table(a, b, t=1.0):
    return [[float(np.dot(x, y)) / t for y in b] for x in a]


def turned(s):
    return [list(c) for c in zip(*s, strict=True)]


def both(s):
    n = len(s)
    back = turned(s)
    return (sum(ce(s[i], i) for i in range(n)) + sum(ce(back[i], i) for i in range(n))) / (2 * n)


def pairs(batch, loss):
    return float(np.mean([loss(units(batch[a]), units(batch[b])) for a, b in itertools.combinations(batch, 2)]))


def clip(batch, t):
    return pairs(batch, lambda x, y: both(table(x, y, t)))


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > -30 else x


def siglip(batch, t, own):
    bias = float(own["parts.0.bias"])

    def loss(x, y):
        n = len(x)
        return (
            -sum(
                log_sigmoid((1 if i == j else -1) * (float(x[i] @ y[j]) / t + bias)) for i in range(n) for j in range(n)
            )
            / n
        )

    return pairs(batch, loss)


def _left_out(s):
    n = len(s)
    return sum(lse([s[i][j] for j in range(n) if j != i]) - s[i][i] for i in range(n)) / n


def decoupled(batch, t):
    return pairs(batch, lambda x, y: (_left_out(table(x, y, t)) + _left_out(turned(table(x, y, t)))) / 2)


def infoloob(batch, t, beta=8.0):
    def retrieved(stored, query):
        out = []
        for q in query:
            w = softmax([beta * float(q @ s) for s in stored])
            out.append(unit(sum(a * s for a, s in zip(w, stored, strict=True))))
        return out

    def loss(x, y):
        u = table(retrieved(x, x), retrieved(x, y), t)
        v = table(retrieved(y, x), retrieved(y, y), t)
        return _left_out(u) + _left_out(turned(v))

    return pairs(batch, loss)


def cyclip(batch, t):
    def extra(x, y):
        n = len(x)
        cross = sum(float(x[i] @ y[j] - x[j] @ y[i]) ** 2 for i in range(n) for j in range(n)) / n
        inside = sum(float(x[i] @ x[j] - y[i] @ y[j]) ** 2 for i in range(n) for j in range(n)) / n
        return 0.25 * cross + 0.25 * inside

    return clip(batch, t) + pairs(batch, extra)


def triplet(batch, t, margin=0.2):
    def loss(x, y):
        n, total = len(x), 0.0
        for i, j in itertools.permutations(range(n), 2):
            total += max(0.0, margin - float(x[i] @ y[i]) + float(x[i] @ y[j]))
            total += max(0.0, margin - float(x[i] @ y[i]) + float(x[j] @ y[i]))
        return total / n

    return pairs(batch, loss)


def hard_negative(batch, t, beta=0.25):
    def one(s):
        n, total = len(s), 0.0
        for i in range(n):
            other = [s[i][j] for j in range(n) if j != i]
            weight = [math.exp(beta * v) for v in other]
            mean = sum(weight) / len(weight)
            others = sum(w / mean * math.exp(v) for w, v in zip(weight, other, strict=True))
            total += math.log(math.exp(s[i][i]) + others)
            total -= s[i][i]
        return total / n

    return pairs(batch, lambda x, y: (one(table(x, y, t)) + one(turned(table(x, y, t)))) / 2)


def tic(x, topk=10, duplicate=0.95):
    total = 0.0
    for i, a in enumerate(x):
        s = [0.0 if i == j or float(a @ b) > duplicate else float(a @ b) for j, b in enumerate(x)]
        total += lse(sorted(s, reverse=True)[: min(topk, len(x) - 1)])
    return total / len(x)


def fgclip2(batch, t, own):
    return siglip(batch, t, own) + 0.1 * tic(units(next(iter(batch.values()))))


def degla(batch, t, negatives, teacher):
    (text,) = negatives
    image = next(m for m in batch if m != text)
    x, y, n = units(batch[image]), units(batch[text]), [units(v) for v in negatives[text]]
    flat, size = [v for vs in n for v in vs], len(x)
    everything = sum(ce([float(x[i] @ v) / t for v in [*y, *flat]], i) for i in range(size)) / size
    everything = (everything + sum(ce([float(y[i] @ v) / t for v in x], i) for i in range(size)) / size) / 2
    by_image = sum(ce([float(x[i] @ v) / t for v in [y[i], *n[i]]], 0) for i in range(size)) / size
    taught = units(teacher[text])
    by_text = sum(ce([10 * float(y[i] @ v) for v in [taught[i], *n[i]]], 0) for i in range(size)) / size
    moved = sum(float(np.sum((a - b) ** 2)) for a, b in zip(x, units(teacher[image]), strict=True))
    moved += sum(float(np.sum((a - b) ** 2)) for a, b in zip(y, taught, strict=True))
    for vs, ts in zip(n, teacher[f"{text}.negatives"], strict=True):
        moved += sum(float(np.sum((a - b) ** 2)) for a, b in zip(vs, units(ts), strict=True))
    return everything + 0.1 * by_image + 0.1 * by_text + 0.005 * moved


def cwcl(batch, t, teacher):
    names = list(batch)
    q, losses = units(teacher[names[0]]), []
    for other in names[1:]:
        s = table(units(batch[names[0]]), units(batch[other]), t)
        n, total = len(s), 0.0
        for i in range(n):
            w = [(float(q[i] @ q[j]) + 1) / 2 for j in range(n)]
            total += sce(s[i], [v / sum(w) for v in w])
        back = turned(s)
        losses.append((total + sum(ce(back[i], i) for i in range(n))) / n)
    return float(np.mean(losses))


def supcon(batch, t, labels):
    def loss(x, y):
        s, n = table(x, y, t), len(x)
        total = 0.0
        for side in (s, turned(s)):
            for i in range(n):
                same = [float(labels[i] == labels[j]) for j in range(n)]
                total += sce(side[i], [v / sum(same) for v in same])
        return total / (2 * n)

    return pairs(batch, loss)


def local_to_global(parts, wholes, t, there=None):
    loss = []
    for i, g in enumerate(wholes):
        mine = []
        for p, v in enumerate(parts[i]):
            if there is not None and not there[i][p]:
                continue
            others = [
                float(w @ g) / t
                for j in range(len(wholes))
                if j != i
                for q, w in enumerate(parts[j])
                if there is None or there[j][q]
            ]
            own = float(v @ g) / t
            mine.append(lse([own, *others]) - own)
        loss.append(sum(mine) / len(mine))
    return sum(loss) / len(loss)


def tcl(batch, t, teacher, tokens, there, share=0.4):
    a, b = list(batch)[:2]
    x, m = {k: units(batch[k]) for k in (a, b)}, {k: units(teacher[k]) for k in (a, b)}
    n, cross, within = len(x[a]), 0.0, 0.0
    for q, k in ((a, b), (b, a)):
        for i in range(n):
            soft = softmax([float(m[q][i] @ v) / t for v in m[k]])
            target = [(1 - share) * (i == j) + share * soft[j] for j in range(n)]
            cross += sce([float(x[q][i] @ v) / t for v in m[k]], target) / (2 * n)
    for k in (a, b):
        within += sum(ce([float(x[k][i] @ v) / t for v in m[k]], i) for i in range(n)) / (2 * n)
    parts = [local_to_global([units(v) for v in tokens[k]], units(batch[k]), t, there.get(k)) for k in tokens]
    return (cross + within + float(np.mean(parts))) / 3


def _gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def clsr(batch, t, own, gamma=1.0):
    anchor = units(next(iter(batch.values())))
    n = len(anchor)
    tau = []
    for i in range(n):
        h = sum(max(0.0, float(anchor[i] @ anchor[j])) for j in range(n) if j != i) / (n - 1)
        tau.append(min(max(t * (1 + gamma * h), 0.01), 0.5))
    across, within, rebuilt = [], [], []
    for a, b in itertools.combinations(batch, 2):
        for q, k in ((a, b), (b, a)):
            x, y = units(batch[q]), units(batch[k])
            across.append(np.mean([ce([float(x[i] @ v) / tau[i] for v in y], i) for i in range(n)]))
            within.append(
                np.mean(
                    [
                        ce([float(x[i] @ v) / tau[i] for v in [*y, *(x[j] for j in range(n) if j != i)]], i)
                        for i in range(n)
                    ]
                )
            )
    for a, b in itertools.permutations(batch, 2):
        p = {k.split(f"{a}>{b}.")[1]: v for k, v in own.items() if f"{a}>{b}." in k}
        errors = []
        for x, y in zip(units(batch[a]), units(batch[b]), strict=True):
            h = [_gelu(v) for v in p["0.weight"] @ x + p["0.bias"]]
            errors.append(float(np.sum((p["2.weight"] @ np.array(h) + p["2.bias"] - y) ** 2)))
        rebuilt.append(np.mean(errors))
    return float(np.mean(across) + 0.5 * np.mean(within) + 0.1 * np.mean(rebuilt))


def _bag(x, y, there_x, there_y):
    best = []
    for s, v in enumerate(x):
        if there_x is None or there_x[s]:
            best.append(max(float(v @ w) for r, w in enumerate(y) if there_y is None or there_y[r]))
    return sum(best) / len(best)


def secla(batch, t, tokens, there, agreement=0.15):
    (a, x), (b, y) = list(tokens.items())[:2]
    n = len(x)
    ta, tb = there.get(a), there.get(b)
    f = [[_bag(x[i], y[j], ta[i], tb[j]) for j in range(n)] for i in range(n)]
    g = [[_bag(y[i], x[j], tb[i], ta[j]) for j in range(n)] for i in range(n)]
    loss = sum(ce([v / t for v in f[i]], i) + ce([v / t for v in g[i]], i) for i in range(n)) / n
    return loss + agreement * sum((f[i][i] - g[i][i]) ** 2 for i in range(n)) / n


def beclr(batch, t, teacher):
    a, b = list(batch)[:2]
    x, y, tx, ty = units(batch[a]), units(batch[b]), units(teacher[a]), units(teacher[b])
    n = len(x)
    pull = -sum(float(x[i] @ ty[i] + y[i] @ tx[i]) for i in range(n)) / (2 * n)
    z = [*x, *y]
    every = range(2 * n)
    rows = [sum(math.exp(float(z[i] @ z[j]) / t) for j in every if j % n != i % n) / (2 * n - 2) for i in every]
    return pull + 0.1 * math.log(sum(rows) / (2 * n))


def protoclip(batch, t, own):
    return clip(batch, t)  # before the memory is full; the prototype term has an oracle of its own


def gram(batch, t, smoothing=0.1):
    from tests import reference

    return reference.gram(batch, t, smoothing)


def triangle(batch, t, smoothing=0.1):
    x, a, b = (units(v) for v in list(batch.values())[:3])
    n = len(x)

    def area(p, q, r):
        s = [np.linalg.norm(p - q), np.linalg.norm(q - r), np.linalg.norm(r - p)]
        h = sum(s) / 2
        return math.sqrt(max(h * (h - s[0]) * (h - s[1]) * (h - s[2]), 0.0))

    s = [[-area(x[i], a[j], b[j]) / t for j in range(n)] for i in range(n)]
    total = 0.0
    for side in (s, turned(s)):
        for i in range(n):
            w = [(1 - smoothing) * (i == j) + smoothing / n for j in range(n)]
            total += sce(side[i], w)
    return total / (2 * n)


def pmrl(batch, t, intra=0.05):
    names = list(batch)
    n = len(batch[names[0]])
    inside, signed, u = 0.0, 0.0, []
    for i in range(n):
        x = np.stack([unit(batch[m][i]) for m in names])
        _, sigma, v = np.linalg.svd(x, full_matrices=False)
        direction = v[0] * (1 if float(v[0] @ x.sum(0)) >= 0 else -1)
        u.append(direction)
        inside += ce([s / intra for s in sigma], 0)
        signed += sum(float(r @ direction) for r in x) / len(names)
    return inside / n + both(table(u, u, t)) + 0.1 * (1 - signed / n)


def mv_infonce(batch, t):
    u = [units(batch[m]) for m in batch]
    views, n, total = range(len(u)), len(u[0]), 0.0
    for i in range(n):
        top = [float(u[k][i] @ u[m][i]) / t for k, m in itertools.permutations(views, 2)]
        every = [
            float(u[k][i] @ u[m][j]) / t for k in views for m in views for j in range(n) if not (k == m and i == j)
        ]
        total += lse(every) - lse(top)
    return total / n


def mv_dhel(batch, t):
    u = [units(batch[m]) for m in batch]
    views, n, total = range(len(u)), len(u[0]), 0.0
    for i in range(n):
        top = [float(u[k][i] @ u[m][i]) / t for k, m in itertools.permutations(views, 2)]
        total += math.log(2) - lse(top)
        total += sum(lse([float(u[k][i] @ u[k][j]) / t for j in range(n) if j != i]) for k in views)
    return total / n


def bind(batch, t):
    names = list(batch)
    return float(np.mean([both(table(units(batch[names[0]]), units(batch[m]), t)) for m in names[1:]]))


def align_uniform(batch, t):
    def near(x, y):
        return sum(float(np.sum((a - b) ** 2)) for a, b in zip(x, y, strict=True)) / len(x)

    def even(x):
        e = [math.exp(-2 * float(np.sum((a - b) ** 2))) for a, b in itertools.combinations(x, 2)]
        return math.log(sum(e) / len(e))

    return pairs(batch, near) + float(np.mean([even(units(v)) for v in batch.values()]))


def vicreg(batch, t):
    alike = np.mean([np.mean((batch[a] - batch[b]) ** 2) for a, b in itertools.combinations(batch, 2)])
    spread, apart = [], []
    for x in batch.values():
        spread.append(np.mean([max(0.0, 1 - math.sqrt(np.var(c, ddof=1) + 1e-4)) for c in x.T]))
        c = np.cov(x.T)
        d = len(c)
        apart.append(sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d)
    return float(25 * alike + 25 * np.mean(spread) + np.mean(apart))


def white(x, groups, eps=1e-4):
    out = []
    for part in np.split(np.asarray(x, dtype=np.float64), groups, axis=1):
        c = part - part.mean(0)
        values, vectors = np.linalg.eigh(c.T @ c / len(c) + eps * np.eye(c.shape[1]))
        out.append(c @ vectors @ np.diag(values**-0.5) @ vectors.T)
    return np.concatenate(out, 1)


def whitened(batch, t, groups):
    return float(
        np.mean(
            [
                both(table(units(white(batch[a], groups)), units(white(batch[b], groups)), t))
                for a, b in itertools.combinations(batch, 2)
            ]
        )
    )


def biased_mmd(x, y, sigma=1.0):
    def k(p, q):
        return np.mean([math.exp(-float(np.sum((a - b) ** 2)) / (2 * sigma**2)) for a in p for b in q])

    return float(k(x, x) + k(y, y) - 2 * k(x, y))


def mmd(batch, t, weight=2.0):
    return clip(batch, t) + weight * pairs(batch, biased_mmd)


def _hybrid(batch, teacher, t, share=0.5):
    losses = []
    for a, b in itertools.combinations(batch, 2):
        s, s0 = table(batch[a], batch[b], t), table(teacher[a], teacher[b], t)
        for mine, theirs in ((s, s0), (turned(s), turned(s0))):
            n, total = len(s), 0.0
            for i in range(n):
                soft = softmax(theirs[i])
                p = [share * (i == j) + (1 - share) * soft[j] for j in range(n)]
                q = softmax(mine[i])
                total += sum(u * (math.log(u) - math.log(v)) for u, v in zip(p, q, strict=True) if u > 0)
            losses.append(total / n)
    return float(np.mean(losses))


def clip_refine(batch, t, teacher, noise):
    rafa = sum(float(np.mean((x - noise) ** 2)) for x in batch.values())
    return rafa + _hybrid(batch, teacher, t)


def hycd(batch, t, teacher):
    return _hybrid(batch, teacher, t)


def noise_injection(batch, t, draws, variance=0.016):
    names, losses = list(batch), []
    for m, z in zip(names[1:], draws, strict=True):
        x = [unit(v + math.sqrt(variance) * e) for v, e in zip(units(batch[names[0]]), z, strict=True)]
        losses.append(both(table(x, units(batch[m]), t)))
    return float(np.mean(losses))


def gap_guard(batch, t, own):
    return clip(batch, t)  # the first batch sets the mark, so nothing is charged yet


def sepclr(batch, t, labels):
    x, y = list(batch.values())[:2]
    d, n = x.shape[1] // 2, len(x)
    c = [units(v[:, :d]) for v in (x, y)]
    s = [v[:, d:] for v in (x, y)]
    masked = [[v[i] * float(labels[i]) for i in range(n)] for v in s]

    def near(p, q):
        return sum(float(np.sum((a - b) ** 2)) for a, b in zip(p, q, strict=True)) / len(p) / (2 * t)

    def even(p):
        e = [math.exp(-float(np.sum((a - b) ** 2)) / (2 * t)) for a, b in itertools.combinations(p, 2)]
        return math.log(sum(e) / len(e))

    def joint(p, q):
        total = 0.0
        for i in range(n):
            k = [
                math.exp(-(float(np.sum((p[i] - p[j]) ** 2)) + float(np.sum((q[i] - q[j]) ** 2))) / (2 * t))
                for j in range(n)
            ]
            total += math.log(sum(k) / n)
        return total / n

    target = [i for i in range(n) if labels[i]]
    empty = [i for i in range(n) if not labels[i]]
    common = near(*c) + even(c[0]) + even(c[1])
    salient = near([s[0][i] for i in target], [s[1][i] for i in target]) + even(masked[0]) + even(masked[1])
    nothing = sum(np.mean([float(np.sum(v[i] ** 2)) for i in empty]) for v in s) / (2 * t) / 2
    return float(common + 1000 * salient + 1000 * nothing + 10 * np.mean([joint(c[k], masked[k]) for k in (0, 1)]))


def grace(batch, t, own):
    s, u, j = list(batch.values())[:3]
    n = len(s)
    key = "parts.0.pooler."
    w, b = own[key + "head.weight"][0], float(own[key + "head.bias"][0])
    rw, rb = own[key + "reference.weight"][0], float(own[key + "reference.bias"][0])

    def far(p, q):
        return float(np.linalg.norm(p - q + 1e-6))

    preference = sum(
        -log_sigmoid(float(w @ (s[i] - u[i])) - 0.8 * float(rw @ (s[i] - u[i]) + rb - rb)) for i in range(n)
    )
    apart = sum(max(0, 5 - far(s[i], u[i])) + max(0, 5 - far(s[i], j[i])) for i in range(n)) / 2
    together = sum(max(0, far(u[i], j[i]) - 1) for i in range(n))
    p, q = softmax([float(w @ v) + b for v in u]), softmax([float(w @ v) + b for v in j])
    smooth = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    return (preference + apart + together + 0.1 * smooth) / n


def plan(cost, eps, rows, iterations=20):
    k = np.exp(-(cost - cost.min()) / eps)
    v = np.ones(cost.shape[1])
    for _ in range(iterations):
        u = np.where(rows > 0, rows / np.maximum(k @ v, 1e-300), 0.0)
        v = 1 / cost.shape[1] / (k.T @ u)
    return u[:, None] * k * v[None]


def orma(batch, t, tokens, there, eps=0.1):
    (a, x), (b, y) = list(tokens.items())[:2]
    n = len(x)
    s = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            p, q = units(x[i]), units(y[j])
            sim = np.array(table(p, q))
            rows = np.array(there[a][i], dtype=float)
            s[i][j] = float(np.sum(plan(1 - sim, eps, rows / rows.sum()) * sim)) / t
    return 0.3 * clip(batch, t) + 0.7 * both(s)


def swapped(batch, t, own, eps=0.05):
    c = units(own["parts.0.prototypes"])

    def balanced(s):
        s = np.array(s)
        return plan(-s, eps, np.full(len(s), 1 / len(s)), iterations=3)

    def loss(x, y):
        sx, sy = table(x, c), table(y, c)
        qx, qy = balanced(sx), balanced(sy)
        total = 0.0
        for i in range(len(x)):
            total += sce([v / t for v in sx[i]], list(qy[i] / qy[i].sum()))
            total += sce([v / t for v in sy[i]], list(qx[i] / qx[i].sum()))
        return total / (2 * len(x))

    return pairs(batch, loss)


def sparsemax(z):
    best = None
    for size in range(1, len(z) + 1):  # the support that is consistent with itself
        top = sorted(z, reverse=True)[:size]
        theta = (sum(top) - 1) / size
        if top[-1] > theta:
            best = theta
    return [max(v - best, 0.0) for v in z]


def fdt(batch, t, own, tokens, there, sharpness=10.0):
    codes = own["parts.0.codes"]

    def mixed(m):
        w, b = own[f"parts.0.queries.{m}.weight"], own[f"parts.0.queries.{m}.bias"]
        rows = []
        for i in range(len(batch[m])):
            members = [v for k, v in enumerate(tokens[m][i]) if there[m][i][k]] if m in tokens else [unit(batch[m][i])]
            q = [w @ v + b for v in members]
            r = [max(float(v @ c) for v in q) / math.sqrt(len(c)) / sharpness for c in codes]
            rows.append(unit(sum(a * c for a, c in zip(sparsemax(r), codes, strict=True))))
        return rows

    return float(np.mean([both(table(mixed(a), mixed(b), t)) for a, b in itertools.combinations(batch, 2)]))


def _kept(x, taught, mean):
    n = len(x)
    rows = sum(float(np.sum((a - b) ** 2)) for a, b in zip(x, taught, strict=True))
    shapes = []
    for i, j in itertools.combinations(range(n), 2):
        d = abs(float(np.linalg.norm(x[i] - x[j])) - float(np.linalg.norm(taught[i] - taught[j])))
        shapes.append(d * d / 2 if d < 1 else d - 0.5)
    return (rows / n, sum(shapes) / len(shapes)) if mean else (rows, sum(shapes))


def distil(batch, t, teacher):
    m = next(iter(batch))
    return sum(_kept(units(batch[m]), units(teacher[m]), True))


def proclip(batch, t, teacher):
    m = next(iter(batch))
    return clip(batch, t) + 0.1 * sum(_kept(units(batch[m]), units(teacher[m]), False))


def condition_contrast(right, wrong, beta, weight, alike):
    total = 0.0
    for r, w, same in zip(right, wrong, alike, strict=True):
        second = -log_sigmoid(beta * w) if same else -weight * log_sigmoid(-beta * w)
        total += -log_sigmoid(beta * r) + second
    return total / len(right) / max(weight, 1)


def symmetric_pictures(policy, reference, beta):
    total = 0.0
    for p, r in zip(policy, reference, strict=True):
        for text in (0, 1):
            own = p[text][text] - r[text][text]
            other = p[text][1 - text] - r[text][1 - text]
            none = p[text][2] - r[text][2]
            total -= log_sigmoid(beta * (own - none)) + log_sigmoid(beta * (none - other))
    return total / len(policy)


def policy_contrast(log_ratio, reward, beta):
    total = 0.0
    for ratios, rewards in zip(log_ratio, reward, strict=True):
        r = [b - beta * a for a, b in zip(ratios, rewards, strict=True)]
        total += sum((r[i] - r[j]) ** 2 for i in range(len(r)) for j in range(i)) / (len(r) - 1)
    return total / len(log_ratio)


def shortest(gradients, steps=40):
    """The least-norm convex combination of three gradients, over a grid of weights."""
    best = None
    for i in range(steps + 1):
        for j in range(steps + 1 - i):
            a = (i / steps, j / steps, (steps - i - j) / steps)
            v = sum(w * np.asarray(g, float) for w, g in zip(a, gradients, strict=True))
            if best is None or float(v @ v) < best[0]:
                best = (float(v @ v), a)
    return best


def voted_partner(z, parts, i):
    """The nearest other row of z, and whether i is among the two rows most like it by parts."""
    near = max((j for j in range(len(z)) if j != i), key=lambda j: float(unit(z[i]) @ unit(z[j])))

    def alike(a, b):
        lengths = [float(np.linalg.norm(v)) for v in parts[a]]
        return sum(w * float(unit(u) @ unit(v)) for w, u, v in zip(lengths, parts[a], parts[b], strict=True)) / sum(
            lengths
        )

    column = sorted((alike(j, near) for j in range(len(z)) if j != near), reverse=True)
    return near, alike(i, near) >= column[1] - 1e-12
