"""Real trainers watched, real trackers written, real libraries' models as towers."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import workbench as wb
from workbench.errors import InputError
from workbench.training.exporters import export, tag
from workbench.training.monitor import Monitor, lightning_callback, transformers_callback
from workbench.training.run import Run

IDS = [f"i{k}" for k in range(40)]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{c}" for c in LETTERS)]
pytestmark = pytest.mark.filterwarnings("ignore")  # trainers and trackers warn of their own affairs


# what both Trainers of transformers' kind are told
SHORT = {
    "max_steps": 40,
    "per_device_train_batch_size": 20,
    "logging_steps": 10,
    "report_to": [],
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class Pair(nn.Module):
    """Two linear towers over fixed features, and their contrast."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(12, 8), nn.Linear(12, 8)
        self.x = torch.randn(len(IDS), 12)

    def look(self):
        return {"a": self.a(self.x), "b": self.b(self.x)}, IDS

    def loss(self, x):
        a, b = normalize(self.a(x), dim=1), normalize(self.b(x), dim=1)
        return cross_entropy(a @ b.T / 0.1, torch.arange(len(x)))


def watched(run):
    """What every watched run must show: looks with snapshots, a falling loss, better retrieval."""
    looks = [m for m in run.metrics if "probe_recall_at_1" in m]
    assert len(looks) >= 2
    assert set(run.snapshots) == {m["step"] for m in looks}
    assert list(run.snapshot().items["id"]) == IDS
    assert looks[-1]["probe_recall_at_1"] > looks[0]["probe_recall_at_1"]
    assert run.report().value("recall_at_1", "a", "b") == looks[-1]["recall_at_1 a b"]


def test_a_lightning_trainer_is_watched(tmp_path):
    pl = pytest.importorskip("pytorch_lightning")

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def training_step(self, batch, index):
            loss = self.pair.loss(batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.02)

    module, monitor = Module(), Monitor(tmp_path / "run", steps=40)
    loader = torch.utils.data.DataLoader(module.pair.x, batch_size=20)
    trainer = pl.Trainer(
        max_steps=40,
        callbacks=[lightning_callback(monitor, module.pair.look, every=5)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader)
    run = Run(tmp_path / "run")
    watched(run)
    assert run.metrics[-1]["step"] == 40
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]


def test_a_transformers_trainer_is_watched(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(Pair):
        def forward(self, x):
            return {"loss": self.loss(x)}

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(IDS)

        def __getitem__(self, i):
            return {"x": model.x[i]}

    model, monitor = Model(), Monitor(tmp_path / "run", steps=40)
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path / "out"), learning_rate=0.02, **SHORT)
    watch = transformers_callback(monitor, model.look, every=10)
    transformers.Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[watch]).train()
    run = Run(tmp_path / "run")
    watched(run)
    losses = [m["loss"] for m in run.metrics if "loss" in m]
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory):
    """A sentence-transformers model with random weights and letters for words, saved as users save theirs."""
    st = pytest.importorskip("sentence_transformers")
    transformers = pytest.importorskip("transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "words.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(folder / "body")
    tokenizer = transformers.BertTokenizer(vocab={w: i for i, w in enumerate(WORDS)})
    tokenizer.save_pretrained(folder / "body")
    body = Transformer(str(folder / "body"))
    st.SentenceTransformer(modules=[body, Pooling(32)], device="cpu").save(str(folder / "model"))
    return folder / "model"


def test_a_sentence_transformers_trainer_is_watched(tmp_path, small_bert):
    st = pytest.importorskip("sentence_transformers")
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    names = [str(x) for x in wb.dataset("emoji").items["name"][: len(IDS)]]
    model = st.SentenceTransformer(str(small_bert), device="cpu")
    backwards = [x[::-1] for x in names]

    def look():
        given = {"a": names, "b": backwards}
        return {m: model.encode(x, convert_to_tensor=True, show_progress_bar=False) for m, x in given.items()}, IDS

    monitor = Monitor(tmp_path / "run", steps=40)
    monitor.look(0, *look())
    arguments = st.SentenceTransformerTrainingArguments(output_dir=str(tmp_path / "out"), learning_rate=5e-3, **SHORT)
    st.SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict({"anchor": names, "positive": backwards}),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[transformers_callback(monitor, look, every=20)],
    ).train()
    watched(Run(tmp_path / "run"))


# -- trackers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path):
    monitor = Monitor(tmp_path / "mine", steps=20)
    for step in (10, 20):
        monitor.log(step, loss=1 / step)
    monitor.run.log(step=20, event="early_stop", severity="info", sentence="Stopped early.")
    return monitor.run


def test_tensorboard_gets_every_value_once(logged):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert export(logged, "tensorboard")[0] == 3
    assert export(logged, "tensorboard")[0] == 0
    logged.log(step=30, **{"recall_at_1 a+b c": 0.5})
    count, place = export(logged, "tensorboard")
    assert count == 1
    found = reader.EventAccumulator(place).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(10, pytest.approx(0.1)), (20, pytest.approx(0.05))]
    assert [e.value for e in found.Scalars("recall_at_1/a.b-c")] == [0.5]
    assert "config/text_summary" in found.Tags()["tensors"]


def test_mlflow_gets_every_value_once(logged):
    tracking = pytest.importorskip("mlflow.tracking")
    pytest.importorskip("sqlalchemy")
    assert export(logged, "mlflow")[0] == 3
    logged.log(step=30, loss=0.01)
    count, place = export(logged, "mlflow")
    assert count == 1
    client = tracking.MlflowClient(tracking_uri=place)
    (found,) = client.search_runs([client.get_experiment_by_name("workbench").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "loss")] == [
        (10, 0.1),
        (20, 0.05),
        (30, 0.01),
    ]
    assert found.data.params["train.steps"] == "20"
    assert found.data.tags["event.early_stop"] == "step 20: Stopped early."
    assert found.info.status == "FINISHED"


def blocks(data):
    """The records of a LevelDB log, which W&B's offline file is: checksum (4), length (2), kind (1), then the bytes."""
    at, part = 0, b""
    while at + 7 <= len(data):
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last of several
            yield part
            part = b""


def test_wandb_stays_offline_unless_asked(logged, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    count, place = export(logged, "wandb")
    assert count == 3
    (file,) = list((logged.path / "exports" / "wandb").glob("offline-run-*/*.wandb"))
    assert str(file.parent) == place
    from wandb.proto.wandb_internal_pb2 import Record

    def history():
        found = []
        for raw in blocks(file.read_bytes()[7:]):
            record = Record.FromString(raw)
            if record.HasField("history"):
                found.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
        return found

    end = time.monotonic() + 30  # a service of its own writes the file
    while len(seen := history()) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    assert [(x["training_step"], x["loss"]) for x in seen] == [(10, 0.1), (20, 0.05)]


def test_an_export_follows_a_run_to_its_end(tmp_path):
    pytest.importorskip("tensorboard")
    run = Monitor(tmp_path / "mine", steps=30).run
    run.log(step=10, loss=1.0)
    command = [sys.executable, "-m", "workbench.cli", "export", str(run.path), "--follow"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": ""})
    try:
        memory = run.path / "exports" / "tensorboard"
        for _ in range(600):
            if list(memory.glob("events*")):
                break
            follower.poll()
            time.sleep(0.05)
        run.log(step=30, loss=0.5)
        out, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
    assert follower.returncode == 0
    assert "2 new lines" in out


@pytest.mark.parametrize(
    ("name", "expected"),
    [("loss", "loss"), ("recall_at_1 a b", "recall_at_1/a-b"), ("gap a<b c", "gap/a_b-c")],
)
def test_tags_suit_every_tracker(name, expected):
    assert tag(name) == expected


def test_an_unknown_tracker_is_refused(logged):
    with pytest.raises(InputError, match="did you mean 'wandb'"):
        export(logged, "wandbb")


# -- towers by name ----------------------------------------------------------------------------------------------------

TINY = {"steps": 4, "evaluate": 4, "batch": 16, "dim": 32}


@pytest.fixture(scope="module")
def few():
    es = wb.dataset("emoji")
    return es.take(range(120))


def test_a_sentence_transformers_model_is_a_tower(tmp_path, small_bert, few):
    run = wb.train(
        "infonce", data=few, out=tmp_path / "run", modalities=["text", "color"],
        tower=f"sentence_transformers/{small_bert}:text", **TINY,
    )  # fmt: skip
    # it learnt, and a run is embedded again from its checkpoint alone
    from safetensors.torch import load_file

    before = load_file(small_bert / "model.safetensors")
    after = run.checkpoint()[1]["model"]
    assert any(k.endswith(name) and not torch.equal(x, after[k]) for name, x in before.items() for k in after)

    again = run.embed("validation", few)
    assert torch.allclose(again["text"], run.snapshot()["text"], atol=1e-6)


def imported(library):
    try:
        return __import__(library)
    except (ImportError, RuntimeError) as e:  # torchvision beside another build of torch is a RuntimeError
        return pytest.skip(f"{library} cannot be imported here: {str(e).splitlines()[0]}")


@pytest.mark.parametrize("name", ["timm/resnet10t", "open_clip/ViT-S-32"])
def test_a_model_by_name_is_a_tower(tmp_path, few, name):
    library = name.split("/")[0]
    imported(library)
    spec = f"{name}:color" if library == "timm" else f"{name}:text,color"
    run = wb.train("infonce", data=few, out=tmp_path / "run", modalities=["text", "color"], tower=spec, **TINY)
    assert run.finished
    assert run.snapshot()["color"].shape[1] == TINY["dim"]


def test_weights_come_from_a_file(tmp_path, few):
    clip = imported("open_clip")
    from safetensors.torch import save_file

    from workbench.training.libraries import library_kind

    model = clip.create_model("ViT-S-32").eval()
    save_file({k: x.contiguous() for k, x in model.state_dict().items()}, tmp_path / "w.safetensors")
    kind = library_kind(f"open_clip/ViT-S-32@{tmp_path / 'w.safetensors'}")
    tokens = kind.reads(few.take(range(8)), "text")
    tower = kind.make(tuple(tokens.shape[1:]), 384, 0, 0.0).eval()
    assert torch.allclose(tower(tokens), model.encode_text(tokens), atol=1e-6)
    with pytest.raises(InputError, match="hf download laion/CLIP-ViT-B-32"):
        library_kind("open_clip/ViT-B-32@laion2b_s34b_b79k").make((77,), 512, 0, 0.0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("timn/resnet18", "did you mean 'timm'"),
        ("sentence_transformers/nowhere", "nothing is downloaded"),
        ("mpl", "did you mean 'mlp'"),
        ("cnn:colour", "did you mean 'color'"),
    ],
)
def test_a_tower_that_is_not_there_is_refused(tmp_path, few, spec, said):
    if spec.startswith("sentence"):
        pytest.importorskip("sentence_transformers")
    with pytest.raises(InputError, match=said):
        wb.train("infonce", data=few, out=tmp_path / "run", modalities=["text", "color"], tower=spec, **TINY)


def test_weights_are_never_opened_as_pickles(tmp_path):
    from workbench.sets.encoders.weights import weights_file

    (tmp_path / "x.pt").write_bytes(b"cposix\nsystem\n")
    with pytest.raises(InputError, match=r"\.safetensors only"):
        weights_file(str(tmp_path / "x.pt"), "", "model.safetensors")
    with pytest.raises(InputError, match="no such file"):
        weights_file(str(tmp_path / "y.safetensors"), "", "model.safetensors")
    with pytest.raises(InputError, match="hf download nobody/nothing"):
        weights_file("tag", "nobody/nothing", "model.safetensors")
