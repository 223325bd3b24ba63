"""Naive twins of moments, codes and criteria: loops over one thing at a time."""

import math

import numpy as np


def unit(v):
    return [x / math.sqrt(sum(y * y for y in v)) for x in v]


def group_loss(films, sentences, glances, length, temperature, width, chosen):
    """Films as {(first, last): vector}; every film's own sentence is its query."""
    total = 0.0
    for b, sentence in enumerate(sentences):
        s = unit(sentence)
        u = 2 * glances[b] / length - 1
        grid = [-1 + 2 * k / (length - 1) for k in range(length)]
        g = [math.exp(-((x - u) ** 2) / (2 * width**2)) for x in grid]
        g = [x / max(g) for x in g]
        weight, own, others = {}, {}, []
        for (first, last), vector in films[b].items():
            own[first, last] = sum(p * q for p, q in zip(s, unit(vector), strict=True))
            end = min(last + 1, length - 1)
            weight[first, last] = (g[first] + g[(first + last + 1) // 2] + g[end]) / 3
        for c, film in enumerate(films):
            if c != b:
                others += [sum(p * q for p, q in zip(s, unit(v), strict=True)) for v in film.values()]
        holds = [m for m in own if m[0] <= glances[b] <= m[1]]
        positive = sorted(holds, key=lambda m: -own[m] * weight[m])[:chosen]
        met = [own[m] for m in positive] + [own[m] for m in own if m not in holds] + others
        bottom = sum(math.exp(x / temperature) for x in met)
        each = [weight[m] * math.log(math.exp(own[m] / temperature) / bottom) for m in positive]
        total -= sum(each) / len(each)
    return total / len(films)


def paired(positive, negative, temperature):
    total = []
    for p, n in zip(positive, negative, strict=True):
        below = sum(math.exp(x / temperature) for x in n)
        total += [-math.log(math.exp(x / temperature) / (math.exp(x / temperature) + below)) for x in p]
    return sum(total) / len(total)


def residual_codes(x, tables):
    left, ids, total = np.array(x, float), [], np.zeros(len(x))
    for table in tables:
        k = min(range(len(table)), key=lambda j: float(((left - table[j]) ** 2).sum()))
        ids.append(k)
        total = total + table[k]
        left = left - table[k]
    return ids, total


def excess(holds, failed):
    yes = [h for h, f in zip(holds, failed, strict=True) if f]
    no = [h for h, f in zip(holds, failed, strict=True) if not f]
    return sum(yes) / len(yes) - sum(no) / len(no)
