r"""Weighting point-wise, pair-wise and contrastive preferences by the shortest combination of their gradients makes a
reranker rank better than point-wise preference alone.

Maths
-----
$$L=\sum_t\alpha_t L_t,\quad \alpha=\arg\min_{\alpha\in\Delta}\|\sum_t\alpha_t\nabla L_t\|^2,\quad
L_t\in\{\mathrm{CE},\ -\overline{\log\sigma(s_i-s_j)},\ \mathrm{SupCon}\}$$

Carried by
----------
workbench.objectives.conflict.min_norm; workbench.objectives.preference.ranked

Code read
---------
dongguanting/DPA-RAG

Deviations
----------
The weights are exact, where the released Frank-Wolfe stops early; the sum is multiplied by three, so that its rate is
that of the single loss. The second stage, a language model's own preference, is not built.

Data
----
emoji: English names with tags as queries, colour drawings as documents, as frozen features; graded 3 for its own, 2 for
its subgroup, 1 for its group

What must move
--------------
NDCG at 10 over all test documents

Control
-------
grades dealt at random within each query: NDCG of both

Positive control
----------------
NDCG by point-wise preference, untrained against trained

At this size
------------
The contrastive term gets hardly any weight, and with equal weights the three rank as one does (beside).

Own data
--------
a set has no graded documents; workbench.objectives.conflict tells whether the terms of your own loss fight each other
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from workbench.objectives.conflict import agreement, gradients, min_norm
from workbench.objectives.preference import ranked
from workbench.papers import bench, contest, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Treatment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit
from workbench.sets import columns

LIKED = torch.tensor([1, 1, 0, 0])  # of the four documents of a query, best first
TERMS = ("point", "pair", "contrast")
Weigh = Callable[[Tensor], Tensor]


class Reranker(nn.Module):
    """A query and a document, read together: a vector of the pair (64) and two logits."""

    def __init__(self, query: int, document: int, hidden: int = 128) -> None:
        super().__init__()
        self.query, self.document = nn.Linear(query, hidden), nn.Linear(document, hidden)
        self.body = nn.Sequential(nn.Linear(4 * hidden, hidden), nn.GELU(), nn.Linear(hidden, 64))
        self.head = nn.Linear(64, 2)

    def forward(self, query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
        a, b = torch.broadcast_tensors(self.query(query), self.document(document))
        pair = self.body(torch.cat([a, b, a * b, (a - b).abs()], -1))
        return pair, self.head(pair)

    def encoder(self) -> list[nn.Parameter]:
        """What the losses share: all but the two logits."""
        return [p for name, p in self.named_parameters() if not name.startswith("head")]


@dataclass
class Learnt:
    """A reranker, and what the weights and the agreement of its terms were on the way."""

    model: Reranker
    weights: list[Tensor] = field(default_factory=list)
    cosines: list[Tensor] = field(default_factory=list)


def graded(part: Part, at: Tensor, of: Tensor) -> Tensor:
    """How good documents are for queries, by their places: 3 its own, 2 its subgroup, 1 its group, 0 another."""
    x = part.x
    same = [(x[k][at] == x[k][of]).long() for k in ("group", "subgroup")]
    return same[0] + same[1] + (at == of).long()


def contrasted(pair: Tensor, temperature: float = 0.07) -> Tensor:
    """Supervised contrast within each query: two liked and two other documents, (B, 4, d) → scalar."""
    z, own = unit(pair, dim=-1), torch.eye(4, dtype=torch.bool)
    log_p = (z @ z.mT / temperature).masked_fill(own, -1e9).log_softmax(2)
    partner = (LIKED[:, None] == LIKED[None]) & ~own
    return -log_p[:, partner].mean()


def ndcg(gains: Tensor, k: int = 10) -> float:
    """Of grades in the order of a ranking (Q, N): discounted gain 2^grade - 1 of the first k, of the best there is."""
    worth, place = 2.0**gains - 1, torch.log2(torch.arange(k) + 2.0)
    found = (worth[:, :k] / place).sum(1)
    best = (worth.sort(1, descending=True).values[:, :k] / place).sum(1)
    return float((found / best)[best > 0].mean())


def _views(trial: Trial) -> Views:
    """Queries and documents of the emoji, with the numbers of group and subgroup, split by family."""
    es = own_set.shipped("emoji")
    index = np.arange(len(es)) if not trial.quick else np.arange(0, len(es), 16)
    x = {m: unit(es[m][torch.from_numpy(index)].float(), dim=1) for m in ("text", "color")}
    codes = {k: torch.from_numpy(columns.codes(es.items[k].iloc[index])[0]) for k in ("group", "subgroup")}
    return parts.split(trial, Part(x | codes, codes["group"]), own_set.family_names(es)[index].tolist())


@experiment(moves="retrieval", min_effect=0.015)
def dpa_rag(trial: Trial) -> Outcome:
    """Point-wise preference alone against all three by the least-norm weights; three rates for both, 350 steps of 48
    queries with four documents each, best to worst.
    """
    views = _views(trial)

    def drawn(part: Part, size: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Queries, and for each its own document, one of its subgroup, of its group, and another (B, 4)."""
        query = torch.randint(len(part), (size,), generator=g)
        grade = graded(part, query[:, None], torch.arange(len(part))[None])
        found = [query]
        for level in (2, 1, 0):
            wanted = (grade == level).float()
            below = (grade < level).float()
            weight = torch.where(wanted.sum(1, keepdim=True) > 0, wanted, below)
            found.append(torch.multinomial(weight, 1, generator=g)[:, 0])
        return query, torch.stack(found, 1)

    def treatment(weigh: Weigh, terms: int = 3, dealt: bool = False) -> Treatment[Learnt]:
        def learn(part: Part, rate: float, steps: int, seed: int) -> Learnt:
            torch.manual_seed(seed)
            found = Learnt(Reranker(part.x["text"].shape[1], part.x["color"].shape[1]))
            g = torch.Generator().manual_seed(seed + 3)

            def loss(_: Tensor) -> Tensor:
                query, documents = drawn(part, 48, g)
                if dealt:
                    documents = documents.gather(1, torch.rand(documents.shape, generator=g).argsort(1))
                pair, logits = found.model(part.x["text"][query][:, None], part.x["color"][documents])
                point = nn.functional.cross_entropy(logits.flatten(0, 1), LIKED.repeat(len(query)))
                losses = torch.stack([point, ranked(logits[..., 1]), contrasted(pair)])[:terms]
                weights = torch.ones(1)
                if terms > 1:
                    each = gradients(list(losses), found.model.encoder())
                    weights = weigh(each)
                    found.weights.append(weights)
                    found.cosines.append(agreement(each))
                return terms * (weights * losses).sum()

            bench.fit([found.model], loss, len(part), steps=steps, seed=seed, lr=rate)
            return found

        return Treatment(learn, (3e-4, 1e-3, 3e-3), 350)

    def order(m: Learnt, part: Part) -> Tensor:
        n, x = len(part), part.x
        scores = []
        for query in x["text"].split(32):
            logits = m.model(query[:, None], x["color"][None])[1]
            scores.append(logits[..., 1] - logits[..., 0])
        at = torch.arange(n)
        grade = graded(part, at[:, None], at[None])
        return grade.gather(1, torch.cat(scores).argsort(dim=1, descending=True, stable=True)).float()

    def judge(m: Learnt, part: Part) -> float:
        return ndcg(order(m, part))

    def even(each: Tensor) -> Tensor:
        return torch.full((len(each),), 1 / len(each))

    def first(each: Tensor) -> Tensor:
        return torch.ones(1)

    found = contest.tuned(trial, treatment(first, 1), treatment(min_norm), views, judge)
    equal = found.again("mechanism", by=treatment(even))
    weights, cosines = torch.stack(found.mechanism.weights).mean(0), torch.stack(found.mechanism.cosines).nanmean(0)

    def vectors(m: Learnt, part: Part) -> dict[str, Tensor]:
        return {"query": m.model.query(part.x["text"]), "document": m.model.document(part.x["color"])}

    return found.outcome(
        control=found.retrained(by=(treatment(first, 1, dealt=True), treatment(min_norm, dealt=True))),
        positive=found.untrained(),
        also={"with equal weights, at the same rate": found.score(equal)}
        | {f"weight of {name}": float(w) for name, w in zip(TERMS, weights, strict=True)}
        | {"cosine of the gradients of point and pair": float(cosines[0, 1])}
        | {"cosine of the gradients of pair and contrast": float(cosines[1, 2])},
        rows=found.rows(vectors),
    )
