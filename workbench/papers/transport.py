"""Papers that match or move whole sets: prototypes onto queries, tokens to parts, rows of incomplete views."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.objectives import transport
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import lab
from workbench.papers.base import Measured, Own, Trial, experiment
from workbench.papers.lab import LEFT, RIGHT, Part, unit


def standard(x: Tensor) -> Tensor:
    """Each vector less its mean, over its deviation (OpTA)."""
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, unbiased=False).clamp_min(1e-6)


@experiment(
    "beclr",
    claim="Moving few-shot prototypes onto the query cloud by optimal transport classifies queries better.",
    maths=r"$$\pi=\arg\min\langle\pi,C\rangle-\epsilon H(\pi),\qquad S\leftarrow\mathrm{diag}(1/\pi\mathbf "
    r"1)\,\pi\,Q$$",
    carrier="workbench.objectives.transport.moved; recipe beclr",
    code="stypoumic/BECLR",
    deviations="Nearest prototype instead of logistic regression; the clustered memory of the training is not "
    "tried. As "
    "shipped, that memory feeds +distance into its assignment, so it prefers far prototypes.",
    data="raw scikit-learn digits: five classes, one example each, fifteen queries each",
    quantity="accuracy over 60 episodes",
    least=0.02,
    control="features of pure noise: accuracy of both",
    margin=0.02,
    positive="accuracy without transport, against chance",
    small="Even marginals assume balanced queries: where they are not, it hurts (beside).",
    own=Own(1, label=True),
    yours="workbench papers beclr --run --data YOUR_SET --label CLASS",
)
def beclr(trial: Trial) -> Measured:
    """The same episodes with and without five passes of transport; two strengths for it, two scalings without."""
    own = lab.given(trial, 1)
    views = own or lab.cut(trial, whole=lambda x: x)
    name = next(iter(views.train.x))
    g = torch.Generator().manual_seed(trial.seed)
    whole = views.test
    assert whole.y is not None
    # classes that fill an episode; an episode takes five of them, or as many as there are
    enough = [c for c in range(int(whole.y.max()) + 1) if int((whole.y == c).sum()) >= (16 if not trial.quick else 2)]
    ways = min(5, len(enough))
    if ways < 2:
        raise InputError("an episode needs two classes or more with sixteen items each in the test part")

    def episodes(part: Part, many: int, sizes: tuple[int, ...]) -> list[tuple[Tensor, Tensor, Tensor]]:
        out, x = [], part.x[name].flatten(1)
        for _ in range(many):
            shots, queries, truth = [], [], []
            for k, c in enumerate(torch.randperm(len(enough), generator=g)[:ways].tolist()):
                rows = (part.y == enough[c]).nonzero()[:, 0]
                rows = rows[torch.randperm(len(rows), generator=g)]
                if len(rows) < 2:
                    continue
                shots.append(x[rows[0]])
                taken = rows[1 : 1 + sizes[k % len(sizes)]]
                queries.append(x[taken])
                truth += [len(shots) - 1] * len(taken)
            out.append((torch.stack(shots), torch.cat(queries), torch.tensor(truth)))
        return out

    def accuracy(of: list[tuple[Tensor, Tensor, Tensor]], eps: float, scaled: bool = True) -> float:
        hit = []
        for s, q, y in of:
            s, q = (standard(s), standard(q)) if scaled else (s, q)
            for _ in range(5 if eps else 0):
                s = transport.moved(s, q, eps, 100)
            hit.append(float((torch.cdist(q, s).argmin(1) == y).float().mean()))
        return sum(hit) / len(hit)

    many = trial.count(60, 4)
    tune, test = episodes(views.train, many, (15,)), episodes(whole, many, (15,))
    scaled, _ = lab.best(trial, (1.0, 0.0), lambda v: bool(v), lambda v: accuracy(tune, 0, v))
    eps, _ = lab.best(trial, (0.05, 0.02), lambda v: v, lambda v: accuracy(tune, v))
    skewed = episodes(whole, many, (3, 3, 8, 15, 30))
    noise = [(torch.randn(s.shape, generator=g), torch.randn(q.shape, generator=g), y) for s, q, y in test]
    base = accuracy(test, 0, scaled)
    s, q, y = test[0]
    s, q = standard(s), standard(q)
    arms = {"baseline": s, "mechanism": transport.moved(s, q, eps, 100)}
    return Measured(
        base,
        accuracy(test, eps),
        (accuracy(noise, 0, scaled), accuracy(noise, eps)),
        (1 / ways, base),
        {
            "unbalanced queries, baseline": accuracy(skewed, 0, scaled),
            "unbalanced queries, mechanism": accuracy(skewed, eps),
        },
        {arm: {"query": q, "prototype": p[y]} for arm, p in arms.items()},
        y,
    )


@experiment(
    "orma",
    claim="Contrasting bags of tokens by the transport between them carries each token to its part better than "
    "contrasting wholes alone.",
    maths=r"$$s_{ij}=\langle\pi_{ij}, \cos(x_i,y_j)\rangle,\qquad L=.3\,L_{\text{whole}}+.7\,\mathrm{symCE}(s/\tau)$$",
    carrier="recipe orma; workbench.objectives.transport.proximal",
    code="DeepLearnXMU/Orma",
    deviations="Two levels instead of three. The released code sends each token to its worst part (the least of the "
    "plan, beside) and scores the true pair with features made from its own text; neither is done here.",
    data="records of four emoji: drawings as parts, English names as tokens, as frozen features",
    quantity="share of tokens whose nearest part of the record is theirs",
    least=0.02,
    control="records with the names of other records: share of both",
    positive="share by wholes alone, untrained against trained",
    small="",
    own=Own(2),
    yours="workbench papers orma --run --data YOUR_SET",
)
def orma(trial: Trial) -> Measured:
    """Means of bags contrasted, against the recipe; parts are found by the cosine of tokens in both."""
    views = lab.given(trial, 2) or lab.emoji(trial, "text", "color")
    text, picture = views.train.x
    g = torch.Generator().manual_seed(trial.seed)

    def records(part: Part, count: int) -> Tensor:
        return torch.stack([torch.randperm(len(part), generator=g)[:4] for _ in range(count)])

    sizes = (trial.count(1200, 40), trial.count(200, 20), trial.count(400, 30))
    drawn = [records(p, n) for p, n in zip((views.train, views.validation, views.test), sizes, strict=True)]

    def train(t: float, name: str, wrong: bool, steps: int) -> lab.Towers:
        torch.manual_seed(trial.seed)
        model = lab.towers(views.train)
        objective = recipe(name, temperature=t)

        def loss(index: Tensor, step: int) -> Tensor:
            at = drawn[0][index]
            other = at.roll(1, 0) if wrong else at
            z = {
                text: model.of(text)(views.train.x[text][other]),
                picture: model.of(picture)(views.train.x[picture][at]),
            }
            wholes = {m: unit(v, dim=-1).mean(1) for m, v in z.items()}
            return objective(Batch(wholes, tokens=z))["loss"]

        lab.fit([model, objective], loss, len(drawn[0]), steps=steps, seed=trial.seed, size=32)
        return model

    def similar(model: lab.Towers, part: Part, index: Tensor) -> Tensor:
        with torch.no_grad():
            z = lab.rows(model, part)
        return z[text][index] @ z[picture][index].mT  # (records, tokens, parts)

    def judge(model: lab.Towers, k: int = 2) -> float:
        s = similar(model, (views.train, views.validation, views.test)[k], drawn[k])
        return float((s.argmax(2) == torch.arange(4)).float().mean())

    steps, grid = trial.steps(150), (0.03, 0.1)
    whole, t0 = lab.best(trial, grid, lambda t: train(t, "infonce", False, steps), lambda m: judge(m, 1))
    parts, t1 = lab.best(trial, grid, lambda t: train(t, "orma", False, steps), lambda m: judge(m, 1))
    plan = transport.proximal(1 - similar(parts, views.test, drawn[2]))
    own = torch.arange(4)
    return Measured(
        judge(whole),
        judge(parts),
        (judge(train(t0, "infonce", True, steps)), judge(train(t1, "orma", True, steps))),
        (judge(train(t0, "infonce", False, 0)), judge(whole)),
        {
            "by the most of the transport plan": float((plan.argmax(2) == own).float().mean()),
            "by the least of it, as released": float((plan.argmin(2) == own).float().mean()),
        },
        {"baseline": lab.rows(whole, views.test), "mechanism": lab.rows(parts, views.test)},
        views.test.y,
    )


@experiment(
    "capimac",
    claim="Matching the unpaired rows of two views in a space learned with a noise-robust loss pairs them by class.",
    maths=r"$$L=\frac1{2N}\sum\Big[P\,d^2+(1-P)\tfrac1m\max\big(\sqrt d\,(\tfrac m2-d),0\big)^2\Big],\quad "
    r"\text{then the best assignment of rows}$$",
    carrier="workbench.papers.transport.robust; scipy.optimize.linear_sum_assignment",
    code="Autism-mm/CAPIMAC",
    deviations="The released matching is greedy and reuses a stale index, so every row gets the same partner; "
    "here it is the best assignment (beside: what the released one gives). Padding stands beside, with a third of the "
    "second view's rows gone (yours: those it lacks); a padded row has the class of most weight in it. No anchors.",
    data="scikit-learn digits: left and right halves, half of the pairs known",
    quantity="share of rows of new items matched to a partner of their class",
    least=0.02,
    control="known pairs dealt at random: share of both losses",
    positive="share by the plain margin loss, untrained against trained",
    small="",
    own=Own(2, label=True, gaps=True),
    yours="workbench papers capimac --run --data YOUR_SET --label CLASS",
)
def capimac(trial: Trial) -> Measured:
    """The plain margin loss against the robust one, on known pairs and random strangers; then the best assignment."""
    from scipy.optimize import linear_sum_assignment

    views = lab.given(trial, 2) or lab.cut(trial, left=LEFT, right=RIGHT)
    a, b = views.train.x
    order = torch.randperm(len(views.train), generator=torch.Generator().manual_seed(trial.seed))
    pool = views.train.take(order[: len(order) // 2])

    def train(lr: float, robust_form: bool, part: Part, steps: int) -> lab.Towers:
        torch.manual_seed(trial.seed)
        model = lab.towers(part)

        def loss(index: Tensor, step: int) -> Tensor:
            z = model({m: v[index] for m, v in part.x.items()})
            d = (torch.cdist(z[a], z[b]).square() + 1e-6).sqrt()
            own = torch.eye(len(index), dtype=torch.bool)
            return robust(d, own) if robust_form else margin(d, own)

        lab.fit([model], loss, len(part), steps=steps, seed=trial.seed, size=64, lr=lr)
        return model

    @torch.no_grad()
    def released(model: lab.Towers, part: Part) -> float:
        """Every row with the partner that was found last."""
        z = model(part.x)
        assert part.y is not None
        return float((part.y == part.y[torch.cdist(z[a], z[b])[-1].argmin()]).float().mean())

    @torch.no_grad()
    def judge(model: lab.Towers, part: Part) -> float:
        z = model(part.x)
        left, right = linear_sum_assignment(torch.cdist(z[a], z[b]).numpy())
        assert part.y is not None
        return float((part.y[torch.from_numpy(left)] == part.y[torch.from_numpy(right)]).float().mean())

    lone = lab.lone(trial, 2)
    kept = torch.randperm(len(views.test), generator=torch.Generator().manual_seed(trial.seed)) % 3 > 0

    @torch.no_grad()
    def incomplete(model: lab.Towers) -> dict[str, float]:
        """Where a third of the second view's rows is gone, or with the items of your set that lack a row."""
        found = {}
        for m, part in {a: views.test, b: views.test if lone else views.test.take(kept)}.items():
            parts = [part, lone[m]] if lone else [part]
            y = torch.cat([p.y for p in parts if p.y is not None])
            found[m] = model.of(m)(torch.cat([p.x[m] for p in parts])), y
        return partnered(*sorted(found.values(), key=lambda view: len(view[1])))

    steps, rates = trial.steps(300), (1e-3, 3e-3)
    plain, r0 = lab.best(trial, rates, lambda r: train(r, False, pool, steps), lambda m: judge(m, views.validation))
    strong, r1 = lab.best(trial, rates, lambda r: train(r, True, pool, steps), lambda m: judge(m, views.validation))
    wrong = pool.mispaired(trial.seed)
    base = judge(plain, views.test)
    return Measured(
        base,
        judge(strong, views.test),
        (judge(train(r0, False, wrong, steps), views.test), judge(train(r1, True, wrong, steps), views.test)),
        (judge(train(r0, False, pool, 0), views.test), base),
        {"with the stale index, as released": released(strong, views.test)} | incomplete(strong),
        {"baseline": lab.rows(plain, views.test), "mechanism": lab.rows(strong, views.test)},
        views.test.y,
    )


def robust(d: Tensor, own: Tensor, m: float = 5.0) -> Tensor:
    """Noise-robust pair loss: near strangers, who may be false ones, are pushed the less the nearer they are.

    >>> round(float(robust(torch.tensor([1.0, 1.0]), torch.tensor([True, False]))), 4)
    0.3625
    """
    push = (d.clamp_min(1e-12).sqrt() * (m / 2 - d)).clamp_min(0).square() / m
    return torch.where(own, d.square(), push).mean() / 2


def margin(d: Tensor, own: Tensor, m: float = 5.0) -> Tensor:
    """The plain margin loss: matches near, strangers half of m away or farther."""
    return torch.where(own, d.square(), (m / 2 - d).clamp_min(0).square()).mean() / 2


def padding(distance: Tensor, count: int, width: float = 1.0) -> Tensor:
    """Weights (count, n) that make fewer than n rows to put between n: Gaussian kernel regression over their order.

    The rows are sorted by the distance of their match (n,); a new one comes into each of the largest jumps.

    >>> weights = padding(torch.tensor([0.0, 0.1, 1.0, 1.1]), 1)
    >>> round(float(weights[0] @ torch.tensor([0.0, 1.0, 4.0, 9.0])), 6)
    3.037883
    """
    order = distance.argsort(stable=True)
    jump = distance[order].diff()
    place = jump.argsort(descending=True, stable=True)[:count].sort().values + 0.5
    weights = (-0.5 * ((place[:, None] - torch.arange(len(order))) / width).square()).exp()
    out = torch.zeros_like(weights)
    out[:, order] = weights / weights.sum(1, keepdim=True)
    return out


def partnered(shorter: tuple[Tensor, Tensor], longer: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Share of the longer view's rows with a partner of their class, three ways: the best assignment alone, the nearest
    row for those that it leaves out, the best assignment to the shorter view after padding, NaN where that has half of
    the rows or fewer. A view is its vectors (n, d) and classes (n,).
    """
    from scipy.optimize import linear_sum_assignment

    (short, own), (long, other) = shorter, longer
    lacking = len(long) - len(short)
    d = torch.cdist(long, short)
    left, right = linear_sum_assignment(d.numpy())
    same = torch.zeros(len(long), dtype=torch.bool)
    same[left] = other[left] == own[right]
    near = other == own[d.argmin(1)]
    near[left] = same[left]
    padded = math.nan
    if lacking < len(short):
        weights = padding(d[left, right][right.argsort()], lacking)
        kinds, code = own.unique(return_inverse=True)
        made = kinds[(weights @ nn.functional.one_hot(code).to(weights)).argmax(1)]
        left, right = linear_sum_assignment(torch.cdist(long, torch.cat([short, weights @ short])).numpy())
        padded = float((other[left] == torch.cat([own, made])[right]).float().mean())
    return {
        "rows that the shorter view lacks, share": lacking / len(long),
        "the same share then, by the best assignment": float(same.float().mean()),
        "and the nearest row for the rest": float(near.float().mean()),
        "and after padding instead": padded,
    }
