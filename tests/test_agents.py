"""The door for agents: a real client over stdio asks what a person would, and gets evidence with every number."""

import asyncio
import json
import sys

import pandas as pd
import pytest

import workbench as wb
from workbench.sets.planted import planted

pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("agents")
    es = planted(items=120, gap=0.8)
    items = es.items.assign(kind=["dogs and cats", "cars"] * 60)
    wb.EmbeddingSet({m: es[m] for m in es.modalities}, items).save(root / "served" / "pairs")
    return root / "served"


def asked(folder, *questions):
    """The answers of one server to several calls, (name, arguments) each; errors as their text."""
    from mcp import Client, StdioServerParameters

    async def go():
        command = StdioServerParameters(command=sys.executable, args=["-m", "workbench", "mcp", str(folder)])
        async with Client(command) as client:
            tools = {t.name for t in (await client.list_tools()).tools}
            answers = [await client.call_tool(name, given) for name, given in questions]
            return tools, answers

    return asyncio.run(asyncio.wait_for(go(), 180))


def values(answer):
    """What a tool gave back, as plain values."""
    given = answer.structured_content
    return given["result"] if given is not None and set(given) == {"result"} else given


def test_an_agent_finds_the_evidence(folder):
    ids = ["i3", "i5"]
    tools, answers = asked(
        folder,
        ("list_all", {}),
        ("findings", {"name": "pairs"}),
        ("numbers", {"name": "pairs", "only": ["recall_at_1", "modality_gap"]}),
        ("worst_pairs", {"name": "pairs", "query": "text", "key": "image", "count": 3}),
        ("find", {"name": "pairs", "text": "cars"}),
        ("map", {"name": "pairs", "ids": ids}),
        ("save_selection", {"name": "pairs", "selection": "odd", "ids": ids}),
    )
    assert {"list_all", "findings", "numbers", "worst_pairs", "slices", "suspects", "map", "save_selection"} <= tools
    listed, findings, numbers, worst, found, drawn, _ = answers
    assert [x["name"] for x in values(listed)] == ["pairs"]
    report = wb.diagnose(wb.load(folder / "pairs"))
    told = values(findings)
    assert [f["sentence"] for f in told["findings"]] == [f.sentence for f in report.findings]
    recall = next(r for r in values(numbers) if r["name"] == "recall_at_1" and r["of"] == ["image", "text"])
    assert recall["value"] == pytest.approx(report.value("recall_at_1", "image", "text"))
    assert recall["null_high"] < recall["low"] <= recall["value"], "with its interval and chance"
    ranks = [w["rank"] for w in values(worst)]
    column = report.items[[c for c in report.items if "median_rank" in c and c.endswith("text>image")]]
    assert ranks == sorted(ranks, reverse=True)
    assert not len(column.columns) or ranks[0] == column.max().item()
    assert values(found)["items"] == 60
    assert values(found)["columns"] == ["kind"]
    assert drawn.content[0].mime_type == "image/png"
    kept = json.loads((folder / "pairs" / "selections" / "odd.json").read_text())
    assert kept["ids"] == ids
    assert sorted(p.name for p in folder.iterdir()) == ["pairs"], "nothing else is written"


def test_an_agent_is_told_what_is_not_there(folder):
    _, answers = asked(
        folder,
        ("findings", {"name": "../secret"}),
        ("numbers", {"name": "pairs", "only": ["recal_at_1"]}),
        ("worst_pairs", {"name": "pairs", "query": "text", "key": "sound"}),
        ("save_selection", {"name": "pairs", "selection": "x/../../y", "ids": ["i1"]}),
    )
    said = [a.content[0].text for a in answers]
    assert all(a.is_error for a in answers)
    assert "no run or set named '../secret'" in said[0]
    assert "did you mean 'recall_at_1'" in said[1]
    assert "no direction named 'text → sound'" in said[2]
    assert "letters, digits" in said[3]


def test_slices_and_suspects_are_those_of_the_lists(folder):
    _, (slices, suspects) = asked(folder, ("slices", {"name": "pairs"}), ("suspects", {"name": "pairs"}))
    es = wb.load(folder / "pairs")
    assert values(slices)["sentences"] == wb.weak_slices(es).sentences
    frame = pd.DataFrame(values(suspects)["first"])
    assert len(frame) == min(20, len(wb.suspects(es).frame))
