r"""Learning codes and their alignment with behaviour in one stage keeps more of who likes what in the codes than
quantising first and aligning afterwards.

Maths
-----
$$L=\underbrace{\|x-\mathrm{dec}(q)\|^2+\textstyle\sum_l\|\bar e_l-c_l\|^2+\tfrac14\|e_l-\bar c_l\|^2}_{\text{codes}}
+L_{\text{CF}}+w\,[\mathrm{NCE}(q_i,u)+\mathrm{NCE}(q_i,v_i)]$$

Carried by
----------
workbench.objectives.quantise.ResidualQuantiser

Deviations
----------
No code is public and the weights are ours. Items are quantised and users are not; of the six alignments those of items
with users and with themselves are built, with the part of a score that is popularity left out, as described.

Data
----
emoji: colour drawings as frozen features of items; the words of their names in eight languages as users who like them

What must move
--------------
AUROC of words and emoji held out, where an emoji is known by its codes only

Control
-------
both arms on likes dealt at random, popularity kept: the AUROC

Positive control
----------------
the AUROC with codes dealt among the items, and of the baseline

At this size
------------
Words of several languages like the same emoji, so that behaviour says much; how much an item's own vector says, without
codes, stands beside.

Own data
--------
a set has no clicks; workbench.objectives.quantise turns its vectors into codes, and 'workbench treat SET --goal
storage' tells what codes keep of retrieval
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.quantise import ResidualQuantiser, collisions, perplexity
from workbench.papers import bench, contest, measures, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Treatment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

LEVELS, CODES, WIDTH, STEPS, WEIGHT, FEWEST = 3, 16, 32, 300, 0.5, 4
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv")


class Model(nn.Module):
    """Content to codes and back, vectors of users and items, and how popular an item is."""

    def __init__(self, width: int, users: int, items: int) -> None:
        super().__init__()
        self.coder, self.decoder = bench.mlp(width, WIDTH), bench.mlp(WIDTH, width)
        self.quantiser, self.aligned = ResidualQuantiser(LEVELS, CODES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.user, self.item = nn.Embedding(users, WIDTH), nn.Embedding(items, WIDTH)
        self.popular = nn.Embedding(items, 1)
        nn.init.zeros_(self.popular.weight)
        for x in (self.user, self.item):
            nn.init.normal_(x.weight, std=0.05)  # short rows turn within the steps there are


@dataclass(frozen=True)
class Likes:
    """Words and the emoji that have them: edges (E, 2) of user and item, content (N, d), classes (N,)."""

    edges: Tensor
    content: Tensor
    classes: Tensor
    users: int


def likes(trial: Trial) -> tuple[Likes, np.ndarray]:
    """Every word of four emoji or more, and the name of the family of each edge's item with the word."""
    es = own_set.shipped("emoji")
    index = np.arange(0, len(es), trial.count(1, 6))
    table = es.items.iloc[index]
    names = [
        [f"{code} {w}" for code in LANGUAGES for w in str(row[f"name_{code}"]).lower().split()]
        for _, row in table.iterrows()
    ]
    tags = [set(own) for own in names]
    counts: dict[str, int] = {}
    for own in tags:
        for t in own:
            counts[t] = counts.get(t, 0) + 1
    users = {t: k for k, t in enumerate(sorted(t for t, n in counts.items() if n >= FEWEST))}
    edges = [(users[t], i) for i, own in enumerate(tags) for t in sorted(own) if t in users]
    family = own_set.family_names(es)[index]
    content = unit(es["color"][torch.from_numpy(index)].float(), dim=1)
    classes = torch.from_numpy(np.unique(es.items["group"].iloc[index].astype(str), return_inverse=True)[1])
    return Likes(torch.tensor(edges), content, classes, len(users)), np.array([f"{u}/{family[i]}" for u, i in edges])


@experiment(moves="retrieval", min_effect=0.02)
def das(trial: Trial) -> Outcome:
    """300 steps of codes, then 300 of behaviour with alignment while the codes stand still; against 600 of all at once.
    Two rates for both.
    """
    data, keys = likes(trial)
    views = parts.split(trial, Part({"edge": data.edges}), keys.tolist())
    g = trial.generator()

    def coded(m: Model, items: Tensor, g: torch.Generator, step: int) -> tuple[Tensor, Tensor]:
        x = data.content[items]
        z = m.coder(x)
        if step % 50 == 10:
            m.quantiser.revive(z, g)
        _, q, loss = m.quantiser(z)
        return q, loss + (x - m.decoder(q)).square().sum(1).mean()

    def behaved(m: Model, edges: Tensor, q: Tensor) -> Tensor:
        u, v = m.user(edges[:, 0]), m.item(edges[:, 1])
        twin = (edges[:, None] == edges[None]).any(2) & ~torch.eye(len(edges), dtype=torch.bool)
        own = torch.arange(len(edges))

        def nce(a: Tensor, b: Tensor, more: Tensor | float = 0.0) -> Tensor:
            s = (unit(a, dim=1) @ unit(b, dim=1).T / 0.2 + more).masked_fill(twin, -1e9)
            return heads.softmax(s, own)

        told = m.aligned(q)
        return nce(u, v, m.popular(edges[:, 1]).T) + WEIGHT * (nce(told, u) + nce(told, v))

    def treatment(one_stage: bool) -> Treatment[Model]:
        def learn(part: Part, rate: float, steps: int, seed: int) -> Model:
            torch.manual_seed(seed)
            m, edges = Model(data.content.shape[1], data.users, len(data.content)), part.x["edge"]
            draw, count = torch.Generator().manual_seed(seed), [0]

            def codes(index: Tensor) -> Tensor:
                count[0] += 1
                return coded(m, index, draw, count[0])[1]

            def joint(index: Tensor) -> Tensor:
                count[0] += 1
                q, loss = coded(m, edges[index, 1], draw, count[0])
                return loss + behaved(m, edges[index], q)

            def behaviour(index: Tensor) -> Tensor:
                with torch.no_grad():
                    _, q, _ = m.quantiser(m.coder(data.content[edges[index, 1]]))
                return behaved(m, edges[index], q)

            if one_stage:
                bench.fit([m], joint, len(edges), steps=2 * steps, seed=seed, lr=rate, size=256)
                return m
            bench.fit(
                [m.coder, m.decoder, m.quantiser], codes, len(data.content), steps=steps, seed=seed, lr=rate, size=256
            )
            late = [m.user, m.item, m.popular, m.aligned]
            bench.fit(late, behaviour, len(edges), steps=steps, seed=seed, lr=rate, size=256)
            return m

        return Treatment(learn, (1e-3, 3e-3), STEPS)

    def ids(m: Model) -> Tensor:
        return m.quantiser(m.coder(data.content))[0]

    def by_codes(m: Model, codes: Tensor) -> Tensor:
        """Each item's vector and popularity as the mean of the items with its codes but itself; with fewer levels where
        there are none.
        """
        known = torch.cat([unit(m.item.weight, dim=1), m.popular.weight], 1)
        out, done = known.mean(0).expand(len(codes), -1).clone(), torch.zeros(len(codes), dtype=torch.bool)
        for level in range(LEVELS, 0, -1):
            same = (codes[:, None, :level] == codes[None, :, :level]).all(2).fill_diagonal_(False).float()
            here = (same.sum(1) > 0) & ~done
            out[here] = (same[here] @ known) / same[here].sum(1, keepdim=True)
            done |= here
        return out

    def area(vectors: Tensor, m: Model, part: Part, popular: bool = True) -> float:
        """Held-out likes against as many emoji that the word does not have, drawn alike."""
        edges = part.x["edge"]
        draw = torch.Generator().manual_seed(trial.seed)
        other = data.edges[torch.randint(len(data.edges), (len(edges),), generator=draw), 1]
        has = torch.zeros(data.users, len(data.content), dtype=torch.bool)
        has[data.edges[:, 0], data.edges[:, 1]] = True
        free = ~has[edges[:, 0], other]
        user = unit(m.user(edges[:, 0]), dim=1)

        def score(items: Tensor) -> Tensor:
            return (user * vectors[items, :WIDTH]).sum(1) / 0.2 + popular * vectors[items, WIDTH]

        scores = torch.cat([score(edges[:, 1]), score(other)[free]])
        return measures.auc(scores, torch.arange(len(scores)) < len(edges))

    def judge(m: Model, part: Part) -> float:
        return area(by_codes(m, ids(m)), m, part)

    def beside(m: Model, part: Part) -> dict[str, float]:
        codes = ids(m)
        error = (data.content - m.decoder(m.quantiser(m.coder(data.content))[1])).square().sum(1).mean()
        used = perplexity(codes, CODES)
        return {"collisions": collisions(codes), "codes in use, first level": float(used[0]), "error": float(error)}

    found = contest.tuned(trial, treatment(False), treatment(True), views, judge)
    edges = views.train.x["edge"]
    dealt = Part({"edge": torch.stack([edges[:, 0], edges[torch.randperm(len(edges), generator=g), 1]], 1)})
    with torch.no_grad():
        codes = ids(found.baseline)
        mixed = area(
            by_codes(found.baseline, codes[torch.randperm(len(codes), generator=g)]), found.baseline, views.test
        )
        whole = torch.cat([unit(found.baseline.item.weight, dim=1), found.baseline.popular.weight], 1)
        known = area(whole, found.baseline, views.test)
        popular = area(torch.cat([0 * whole[:, :WIDTH], whole[:, WIDTH:]], 1), found.baseline, views.test)
    return found.outcome(
        control=found.retrained(dealt),
        positive=(mixed, found.score(found.baseline)),
        also={"each item's own vector, no codes": known, "popularity alone": popular} | found.beside(beside),
        rows=found.rows(
            lambda m, p: {"content": m.coder(data.content)[:400], "codes": m.quantiser(m.coder(data.content))[1][:400]}
        ),
        labels=data.classes[:400],
    )
