"""Retrieval by a table of relevance equals loops over queries, keys and the orders of ties."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.commands import run


def expected(scores, owner, grades):
    """One query, by counting: scores of all key rows, whose item each is, grade by item; nothing shared with us."""
    mine = sorted(((s, grades[o]) for s, o in zip(scores, owner, strict=True) if grades.get(o, 0) > 0), reverse=True)
    others = [s for s, o in zip(scores, owner, strict=True) if not grades.get(o, 0) > 0]
    places = []  # the ranks that each relevant row may take
    for better, (s, _) in enumerate(mine):
        above, tied = sum(o > s + 1e-12 for o in others), sum(abs(o - s) <= 1e-12 for o in others)
        places.append([1 + better + above + t for t in range(tied + 1)])
    first = places[0]
    out = {f"recall_at_{k}": sum(r <= k for r in first) / len(first) for k in (1, 5, 10)}
    for k in (1, 5, 10):
        out[f"recall_share_at_{k}"] = sum(sum(r <= k for r in p) / len(p) for p in places) / len(places)
    above, tied = first[0] - 1, len(first) - 1
    out["median_rank"] = 1 + above + tied / 2
    out["mrr"] = sum(1 / r for r in first) / len(first)
    level = [np.mean([g for t, g in mine if abs(s - t) <= 1e-12]) for s, _ in mine]  # equals come in any order
    gain = sum(g * sum(1 / math.log2(1 + r) for r in p if r <= 10) / len(p)
               for g, p in zip(level, places, strict=True))  # fmt: skip
    best = sorted((g for _, g in mine), reverse=True)[:10]
    out["ndcg_at_10"] = gain / sum(g / math.log2(1 + j) for j, g in enumerate(best, 1))
    return out


@pytest.mark.parametrize("captions", [1, 3])
@pytest.mark.parametrize("coarse", [False, True])
def test_measures_by_relevance_equal_loops(captions, coarse):
    draw = np.random.default_rng(captions)
    n, d = 30, 6
    x, y = draw.standard_normal((n, d)), draw.standard_normal((n * captions, d))
    if coarse:
        x, y = np.sign(x), np.sign(y)  # many ties
    owner = np.repeat(np.arange(n), captions)
    es = wb.EmbeddingSet({"image": torch.from_numpy(x), "text": torch.from_numpy(y)},
                         pd.DataFrame({"id": [f"i{k}" for k in range(n)]}), rows={"text": owner})  # fmt: skip
    named = {c: [f"i{k}" for k in draw.integers(n, size=80)] for c in "qk"}
    table = pd.DataFrame(named | {"grade": draw.integers(0, 4, size=80)})
    grades = {}
    for q, k, g in table.itertuples(index=False):
        row = grades.setdefault(int(q[1:]), {})
        row[int(k[1:])] = max(g, row.get(int(k[1:]), 0))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    v = y / np.linalg.norm(y, axis=1, keepdims=True)
    for query, key, q, k, qo, ko in (
        ("image", "text", u, v, np.arange(n), owner),
        ("text", "image", v, u, owner, np.arange(n)),
    ):
        found = wb.by_relevance(es, table, query=query, key=key)
        each = [expected([float(a @ b) for b in k], ko.tolist(), grades[int(o)]) for a, o in zip(q, qo, strict=True)
                if any(g > 0 for g in grades.get(int(o), {}).values())]  # fmt: skip
        assert found["queries"].tolist() == [len(each)] * len(found)
        for name in found.index:
            values = [e[name] for e in each]
            want = np.median(values) if name == "median_rank" else np.mean(values)
            assert found.loc[name, "value"] == pytest.approx(want, abs=1e-12), name
        rest = found.drop(index="median_rank")
        assert (rest["low"] <= rest["value"]).all()
        assert (rest["value"] <= rest["high"]).all()


def test_of_own_pairs_alone_it_is_what_a_report_says():
    es = wb.testing.planted(items=60, cosine=0.5, seed=2)
    ids = es.items["id"]
    found = wb.by_relevance(es, pd.DataFrame({"q": ids, "k": ids}), query="image", key="text")
    report = wb.diagnose(es, only=["recall_at_1", "recall_at_10", "median_rank", "mrr", "ndcg_at_10"])
    for name in ("recall_at_1", "recall_at_10", "median_rank", "mrr", "ndcg_at_10"):
        assert found.loc[name, "value"] == pytest.approx(report.value(name, "image", "text"), abs=1e-9)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"q": ["0"]}, "two columns of ids"),
        ({"q": ["i0"], "k": ["nobody"]}, "nobody"),
        ({"q": ["0"], "k": ["1"], "g": ["good"]}, "no grade"),
        ({"q": ["0"], "k": ["1"], "g": [-1.0]}, "0 and more"),
        ({"q": ["i0"], "k": ["i1"], "g": [0]}, "no relevant pair"),
    ],
)
def test_a_table_that_is_none_is_refused(table, says):
    es = wb.testing.planted(items=10)
    with pytest.raises(wb.InputError, match=says):
        wb.by_relevance(es, pd.DataFrame(table), query="image", key="text")


def test_diagnose_prints_it_from_a_file(tmp_path):
    es = wb.testing.planted(items=20)
    es.save(tmp_path / "set")
    pd.DataFrame({"query": es.items["id"], "key": es.items["id"]}).to_csv(tmp_path / "qrels.csv", index=False)
    done = run("diagnose", str(tmp_path / "set"), "--relevance", str(tmp_path / "qrels.csv"))
    assert done.returncode == 0
    assert "ndcg_at_10" in done.stdout
    assert "image → text" in done.stdout
