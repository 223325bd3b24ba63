"""The faces for other libraries, inside those libraries."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.diagnostics.registry import diagnostics
from workbench.errors import InputError
from workbench.integrations import clip_metrics

torchmetrics = pytest.importorskip("torchmetrics")
from workbench.integrations import DiagnosticMetric, InterventionTransformer  # noqa: E402


def rows(n: int = 60, d: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw)
    return x, x + 0.6 * torch.randn(n, d, generator=draw) + 0.3


# -- torchmetrics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, d in diagnostics().items() if d.on in ("modality", "pair", "direction")])
def test_every_plain_diagnostic_is_a_metric(name):
    x, y = rows()
    metric = DiagnosticMetric(name)
    metric.update(x[:25], y[:25])
    metric.update(x[25:], y[25:])
    value = float(metric.compute())
    report = wb.diagnose({"image": x, "text": y}, only=[name])
    if not report.has(name) or report.row(name, *metric.scope)["reason"] is not None:
        assert np.isnan(value), "what needs labels does not apply to bare rows"
    else:
        assert value == pytest.approx(report.value(name, *metric.scope), rel=1e-6)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")  # that is what is tried at the end
def test_it_works_in_a_collection_and_is_merged_and_reset():
    x, y = rows()
    names = ("recall_at_1", "modality_gap", "uniformity")
    whole = torchmetrics.MetricCollection({n: DiagnosticMetric(n) for n in names})
    whole.update(x, y)
    parts = []
    for at in (slice(0, 20), slice(20, 60)):
        part = DiagnosticMetric("recall_at_1")
        part.update(x[at], y[at])
        parts.append(part)
    parts[0].merge_state(parts[1])
    assert float(parts[0].compute()) == float(whole.compute()["recall_at_1"])
    clone = whole.clone(prefix="val_")
    assert set(clone.compute()) == {f"val_{n}" for n in names}
    whole.reset()
    with pytest.raises(InputError, match="nothing to compute"):
        whole["recall_at_1"].compute()
    assert DiagnosticMetric("recall_at_1").higher_is_better is True
    assert DiagnosticMetric("modality_gap").higher_is_better is None


def test_it_says_what_is_wrong():
    x, y = rows()
    with pytest.raises(InputError, match="no diagnostic named"):
        DiagnosticMetric("recal_at_1")
    with pytest.raises(InputError, match="at least 2 modalities"):
        DiagnosticMetric("recall_at_1", ("image",))
    with pytest.raises(InputError, match="one row an item"):
        DiagnosticMetric("recall_at_1").update(x, y[:3])


def test_ranks_gather_what_each_has_seen(tmp_path):
    (tmp_path / "main.py").write_text(
        "import os, torch\nfrom torch import distributed\n"
        "from workbench.integrations import DiagnosticMetric\n"
        "distributed.init_process_group('gloo')\nrank = distributed.get_rank()\n"
        "draw = torch.Generator().manual_seed(0)\nx = torch.randn(60, 8, generator=draw)\n"
        "y = x + 0.6 * torch.randn(60, 8, generator=draw) + 0.3\n"
        "at = slice(0, 23) if rank == 0 else slice(23, 60)\n"
        "metric = DiagnosticMetric('recall_at_1')\nmetric.update(x[at], y[at])\n"
        "print('found', float(metric.compute()))\ndistributed.destroy_process_group()\n"
    )
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "main.py")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("found")}
    alone = DiagnosticMetric("recall_at_1")
    alone.update(*rows())
    assert found == {float(alone.compute())}


# -- scikit-learn ------------------------------------------------------------------------------------------------------


def test_the_transformers_pass_scikit_learns_checks():
    from sklearn.utils.estimator_checks import check_estimator

    for name in ("centre", "standardise", "whiten", "remove_top"):
        # one direction cannot lose one: said in a sentence of our own
        known = {"check_fit2d_1feature": "needs two dimensions"} if name == "remove_top" else {}
        found = check_estimator(InterventionTransformer(name), on_fail=None, on_skip=None, expected_failed_checks=known)
        failed = {r["check_name"]: str(r["exception"])[:200] for r in found if r["status"] == "failed"}
        assert not failed, (name, failed)


def test_a_transformer_does_what_its_intervention_does():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = (z.double().numpy() for z in rows())
    es = wb.EmbeddingSet({"image": x, "text": y})
    for name in ("shift", "procrustes"):
        made = InterventionTransformer(name).fit(x, y)
        want = wb.interventions.named(name).fit(es, "image", "text").apply(es)
        assert np.allclose(made.transform(x), want["image"].numpy())
        assert np.allclose(made.transform_second(y), want["text"].numpy())
    whole = make_pipeline(InterventionTransformer("whiten"), StandardScaler()).fit(x)
    assert whole.transform(x).shape == x.shape
    assert pd.DataFrame(whole.transform(x)).corr().to_numpy() == pytest.approx(np.eye(8), abs=1e-6)
    with pytest.raises(InputError, match="shift moves two"):
        InterventionTransformer("shift").fit(x)


# -- evaluators --------------------------------------------------------------------------------------------------------


def test_clip_metrics_has_open_clips_keys_and_more():
    x, y = rows()
    found = clip_metrics(x, y, torch.tensor(100.0))
    report = wb.diagnose({"image": x, "text": y}, only=["recall_at_5", "modality_gap"])
    assert found["image_to_text_R@5"] == pytest.approx(report.value("recall_at_5", "image", "text"))
    assert found["modality_gap image text"] == pytest.approx(report.value("modality_gap", "image", "text"))
    assert {
        f"{d}_{k}" for d in ("image_to_text", "text_to_image") for k in ("R@1", "R@5", "R@10", "median_rank")
    } <= set(found)


def test_evaluate_clip_leaves_the_model_as_it_was():
    from workbench.integrations import evaluate_clip

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.text = (
                torch.nn.Linear(8, 4),
                torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout()),
            )

        def encode_image(self, x):
            return self.image(x)

        def encode_text(self, x):
            return self.text(x)

    torch.manual_seed(0)
    model = Two().train()
    x, y = rows()
    report = evaluate_clip(model, zip(x.split(16), y.split(16), strict=True))
    assert model.training
    with torch.inference_mode():
        model.eval()
        want = wb.diagnose({"image": model.encode_image(x), "text": model.encode_text(y)}, only=["recall_at_1"])
    assert report.value("recall_at_1", "image", "text") == want.value("recall_at_1", "image", "text")


def test_open_clip_itself_is_evaluated():
    try:
        import open_clip
    except (ImportError, RuntimeError) as e:
        pytest.skip(f"open_clip does not load here: {str(e).splitlines()[0]}")
    from workbench.integrations import evaluate_clip

    torch.manual_seed(0)
    model = open_clip.create_model("RN50", pretrained=None)
    images = torch.randn(6, 3, 224, 224)
    texts = open_clip.get_tokenizer("RN50")([f"a photo of {k}" for k in range(6)])
    report = evaluate_clip(model, [(images[:3], texts[:3]), (images[3:], texts[3:])], only=["modality_gap"])
    with torch.inference_mode():
        model.eval()
        want = {"image": model.encode_image(images), "text": model.encode_text(texts)}
    gap = wb.diagnose(want, only=["modality_gap"]).value("modality_gap", "image", "text")
    assert report.value("modality_gap", "image", "text") == pytest.approx(gap, rel=1e-4)


def test_sentence_transformers_calls_the_evaluator_while_it_trains(tmp_path):
    st = pytest.importorskip("sentence_transformers")
    datasets = pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    from workbench.integrations import PairEvaluator

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    model = st.SentenceTransformer(modules=[Transformer(str(tmp_path / "bert")), Pooling(16)], device="cpu")
    first, second = list("abcdefghij"), [f"{c} {c}" for c in "abcdefghij"]
    evaluator = PairEvaluator(first, second, name="toy", only=["recall_at_1", "modality_gap"])
    trainer = st.SentenceTransformerTrainer(
        model,
        st.SentenceTransformerTrainingArguments(
            str(tmp_path / "out"), max_steps=2, eval_strategy="steps", eval_steps=1, report_to=[], use_cpu=True
        ),
        train_dataset=datasets.Dataset.from_dict({"anchor": first, "positive": second}),
        loss=st.sentence_transformer.losses.MultipleNegativesRankingLoss(model),
        evaluator=evaluator,
    )
    trainer.train()
    logged = [x for x in trainer.state.log_history if "eval_toy_recall_at_1 query document" in x]
    assert len(logged) == 2
    assert evaluator.primary_metric == "toy_recall_at_1 query document"
    found = evaluator(model, str(tmp_path / "there"))
    want = wb.diagnose({"a": model.encode(first), "b": model.encode(second)}, only=["recall_at_1"])
    assert found["toy_recall_at_1 query document"] == pytest.approx(want.value("recall_at_1", "a", "b"))
    saved = wb.Report.load(tmp_path / "there" / "workbench-toy" / "epoch-1-step-1")
    assert saved.has("modality_gap")
