"""The loop: load, split, train, evaluate on a fixed probe, log, snapshot, checkpoint; readable top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.diagnostics.gap import modality_gap
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError, unknown
from workbench.objectives.batch import Batch
from workbench.objectives.distillation import follow
from workbench.objectives.recipes import COLDEST, RECIPES, Objective, recipe
from workbench.progress import progress
from workbench.report.finding import INFO
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.listed import chosen
from workbench.sets.run_folder import RECALL, RELATIVES, STOPPED
from workbench.sets.shipped import with_splits
from workbench.training import samplers, towers
from workbench.training.gather import Gathered
from workbench.training.gradcache import cached_backward
from workbench.training.probe import better, forward, light, moved, probed
from workbench.training.run import Run
from workbench.training.settings import Settings

LOG_EVERY = 10  # steps between lines of the training loss


class Loop:
    """Everything a step needs, in one place."""

    def __init__(
        self, es: EmbeddingSet, config: Mapping[str, Any], fabric: Any, own: Mapping[str, nn.Module] | None
    ) -> None:
        self.fabric = fabric
        self.settings = s = Settings(**config["train"])
        self.entry = RECIPES[config["recipe"]]
        for what, value in (("train.chunk", s.chunk), ("train.queue", s.queue)):
            if value and fabric.world_size > 1:
                raise InputError(f"{what} works in one process; leave it out with several devices")
        if s.chunk and s.precision == "16-mixed":
            raise InputError("train.chunk does not go with 16-mixed, whose loss is scaled; take bf16-mixed")
        if s.queue and not self.entry.queue:
            able = " and ".join(n for n, r in RECIPES.items() if r.queue)
            raise InputError(f"train.queue serves {able}; recipe {self.entry.name} has no keys")
        if s.patience:
            better(s.watch)
        torch.manual_seed(s.seed)
        es = with_splits(es)
        learn, _ = chosen(es.split("train"), *(Path(f) if f else None for f in (s.leave_out, s.keep)))
        self.kinds = towers.assigned(s.tower, config["modalities"])
        self.train_inputs = towers.inputs(learn, self.kinds)
        self.probe = es.split("validation")
        self.probe_inputs = towers.inputs(self.probe, self.kinds)
        self.count = len(learn)
        self.batch = min(s.batch, self.count)
        if self.batch < s.batch:
            print(f"train.batch={s.batch} is more than the {self.count} training items: batches of {self.batch}")
        if len(self.probe) < 2:
            raise InputError(f"{es.source}: {len(self.probe)} validation items; the probe needs at least two")
        self.labels = _labels(learn, s)
        self.family_sizes = np.bincount(learn.families)[learn.families].astype(np.float64)
        self.sampler = self._sampler()
        if s.pairs:
            self.sampler = samplers.judged(self.sampler, samplers.read_pairs(s.pairs), learn.items["id"])
        model = towers.build(self.kinds, self.train_inputs, s.dim, s.hidden, s.dropout, own)
        if s.start:
            _begin(model, Run(s.start))
        objective = recipe(config["recipe"], dims=dict.fromkeys(self.kinds, s.dim), **config["objective"])
        self.objective: Objective = objective.to(fabric.device)
        self.loss_of = Gathered(self.objective)
        optimizer = torch.optim.AdamW(
            [
                {"params": list(model.parameters()), "weight_decay": s.weight_decay},
                {"params": [p for p in objective.parameters() if p.requires_grad], "weight_decay": 0.0},
            ],
            lr=s.lr,
        )
        self.model, self.optimizer = fabric.setup(model, optimizer)
        self.teaches = _teacher(s, self.entry)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval() if self.teaches in ("start", "ema") else None
        self.queue = {m: torch.zeros(0, s.dim, device=fabric.device) for m in self.kinds} if s.queue else {}
        self.frozen = [m for m in s.freeze.split(",") if m]
        for m in self.frozen:
            if m not in self.kinds:
                raise unknown("modality in train.freeze", m, self.kinds)
        # dropout must differ between ranks, the towers' start must not
        torch.manual_seed(s.seed + 7_919 * fabric.global_rank)

    def _sampler(self) -> samplers.Sampler:
        s = self.settings
        if s.sampler == "balanced":
            if self.labels is None:
                raise InputError("train.sampler=balanced needs train.label, a column of the items")
            return samplers.balanced(self.labels, self.batch, s.seed)
        if s.sampler == "hard":
            anchor = next(iter(self.train_inputs.values()))
            return samplers.hard(lambda: anchor.flatten(1).float(), self.count, self.batch, s.seed)
        return samplers.shuffle(self.count, self.batch, s.seed)

    def _relatives(self) -> dict[str, float]:
        """The share of items that have another one of their family in a batch drawn by lot; nothing where labels tell
        what is a positive."""
        if self.labels is not None or self.count < 2:
            return {}
        missed = 1 - (self.batch - 1) / (self.count - 1)  # that another item is not in the batch
        return {RELATIVES: float((1 - missed ** (self.family_sizes - 1)).mean())}

    def go(self, run: Run) -> None:
        """Train from the last checkpoint, or from the start, to the last step or an early stop."""
        self.run = run
        s, fabric = self.settings, self.fabric
        start = self._restore()
        if self.run.finished or (start and self._stops(start)):
            return
        if start is None:
            start = 0
            with torch.no_grad():
                self._evaluate(0, {"loss": float(self._parts(1)["loss"])} | self._relatives())
        self._learn(start + 1)
        for step in progress(range(start + 1, s.steps + 1), f"train {self.run.name}", s.steps - start, self._line):
            lr = s.lr * schedule(step, s.steps, s.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            parts = self._backward(step)
            if not bool(parts["loss"].isfinite()):
                raise InputError(
                    f"{self.run.path}: the loss is {float(parts['loss'])} at step {step}; lower train.lr, raise the "
                    "temperature, or set train.clip"
                )
            self._hold_still(step)
            if s.clip:
                fabric.clip_gradients(self.model, self.optimizer, max_norm=s.clip, error_if_nonfinite=False)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._follow(step)
            at_probe = step % s.evaluate == 0 or step == s.steps
            if step % LOG_EVERY == 0 or at_probe:
                values = {k: float(x) for k, x in parts.items()}
                values |= {"temperature": float(self.objective.temperature.detach()), "lr": lr}
                aligned = self.objective.at_alignment(self.batch)
                if aligned is not None:
                    values["loss_over_alignment"] = values["loss"] - aligned
                if self.objective.log_temperature.requires_grad:
                    values["temperature_least"] = COLDEST
                if at_probe:
                    self._evaluate(step, values)
                    if self._stops(step):
                        break
                elif fabric.is_global_zero:
                    self.run.log(step=step, **values)

    def _line(self) -> str:
        """The last loss that was logged, and what the last look at the probe saw."""
        lines = self.run.metrics
        loss = next((m["loss"] for m in reversed(lines) if "loss" in m), math.nan)
        look: dict[str, Any] = next((m for m in reversed(lines) if RECALL in m), {})
        gaps = [look[key] for key in ScopedName.of(look, modality_gap.__name__).values()]
        gap = f" · gap {sum(gaps) / len(gaps):.2f}" if gaps else ""
        return f"loss {loss:.3f} · R@1 {look.get(RECALL, math.nan):.3f}{gap}"

    # -- one step --------------------------------------------------------------------------------------------------

    def _backward(self, step: int) -> dict[str, Tensor]:
        """The gradients of a step; its loss and parts, averaged over the batches that add up to it."""
        s, found = self.settings, []
        for k in range(s.accumulate):
            turn = (step - 1) * s.accumulate + k + 1
            if s.chunk:
                inputs, more = self._inputs(turn)
                loss, share = partial(self._loss, more=more), 1 / s.accumulate
                found.append(cached_backward(self.model, inputs, loss, s.chunk, self.fabric.backward, share))
                continue
            with self.fabric.no_backward_sync(self.model, enabled=k < s.accumulate - 1 and self.fabric.world_size > 1):
                parts = self._parts(turn)
                self._pull(parts["loss"])
            found.append({name: x.detach() for name, x in parts.items()})
        return {name: torch.stack([f[name] for f in found]).mean() for name in found[0]}

    def _pull(self, loss: Tensor) -> None:
        self.fabric.backward(loss / self.settings.accumulate)

    def _parts(self, turn: int) -> dict[str, Tensor]:
        inputs, more = self._inputs(turn)
        return self._loss(self.model(inputs), more)

    def _inputs(self, turn: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """This rank's share of a batch, and what else its recipe asks for."""
        s, fabric = self.settings, self.fabric
        index = self.sampler(turn)
        present = samplers.dropped(index, tuple(self.kinds), s.drop, s.seed, turn) if s.drop else None
        mine = slice(fabric.global_rank, None, fabric.world_size)
        index = index[mine]
        device = fabric.device
        inputs = {m: x[index].to(device) for m, x in self.train_inputs.items()}
        more: dict[str, Any] = {}
        if present:
            more["present"] = {m: p[mine].to(device) for m, p in present.items()}
        if self.labels is not None:
            more["labels"] = self.labels[index].to(device)
        if self.teaches == "inputs":
            more["teacher"] = {m: x.flatten(1).float() for m, x in inputs.items()}
        elif self.teacher is not None:
            with torch.no_grad():
                more["teacher"] = {m: x.float() for m, x in self.teacher(inputs).items()}
        return inputs, more

    def _loss(self, out: Mapping[str, Tensor], more: Mapping[str, Any]) -> dict[str, Tensor]:
        vectors = {m: x.float() for m, x in out.items()}
        keys = {m: torch.cat([x, self.queue[m]]) for m, x in vectors.items()} if self.queue else None
        self._last = Batch(vectors, keys=keys, **more)
        return self.loss_of(self._last)

    def _still(self, step: int) -> list[str]:
        """The modalities whose towers do not learn at a step."""
        until = self.settings.freeze_until
        return self.frozen if not until or step <= until else []

    def _held(self, step: int) -> list[nn.Module]:
        """The towers that do not learn at a step."""
        inner = _plain(self.model)
        assert isinstance(inner, towers.Towers)
        return [inner.of(m) for m in self._still(step)]

    def _learn(self, step: int) -> None:
        """Training mode; what is frozen keeps its statistics too."""
        self.model.train()
        for held in self._held(step):
            held.eval()

    def _hold_still(self, step: int) -> None:
        """Frozen towers get no gradient, so that neither the optimiser nor its weight decay moves them."""
        for held in self._held(step):
            for p in held.parameters():
                p.grad = None
        if step == self.settings.freeze_until:
            self._learn(step + 1)

    def _follow(self, step: int) -> None:
        """After the step: the averaged teacher, and the parts of the recipe that remember."""
        self.objective.after_step(self._last)
        for m in self.queue:
            # keys of an averaged teacher change slowly; without one they are the towers' own, as they were
            new = self._last.teacher[m] if self.teaches == "ema" and self._last.teacher else self._last.modalities[m]
            self.queue[m] = torch.cat([new.detach(), self.queue[m]])[: self.settings.queue]
        if self.teaches == "ema" and self.teacher is not None:
            follow(self.teacher, self.model, 1 - self.settings.ema)

    def _stops(self, step: int) -> bool:
        """Whether the watched metric has not got better for `patience` looks; the same on every rank."""
        s = self.settings
        if not s.patience:
            return False
        looks = self.run.looks
        if not all(s.watch in m for m in looks):
            raise unknown("metric of the looks (train.watch)", s.watch, looks[-1])
        sign = {"higher": 1, "lower": -1}[better(s.watch)]
        seen = [sign * m[s.watch] for m in looks]
        enough = len(seen) > s.patience and max(seen[-s.patience :]) <= max(seen[: -s.patience])
        self.fabric.barrier()  # every rank has read the log before one writes into it
        if enough and self.fabric.is_global_zero:
            said = f"Stopped early: {s.watch} has not got better for {s.patience} looks."
            self.run.log(step=step, event=STOPPED, severity=INFO, sentence=said)
        return enough

    # -- looking at the probe --------------------------------------------------------------------------------------

    def _evaluate(self, step: int, values: dict[str, float]) -> None:
        """Embed the probe, measure it, keep it, and only then log: a line in the log has its snapshot."""
        if self.fabric.is_global_zero:
            es = self._embed(self.probe, self.probe_inputs, step)
            self.run.keep_snapshot(step, es)
            values |= moved(self.run, step, es, self._still(step))
            self.run.log(step=step, **values, **probed(es, str(self.fabric.device)))
            self._tell(step)
            self.run.keep_checkpoint(step, self._state())
        self.fabric.barrier()

    def _tell(self, step: int) -> None:
        """What the doctor says for the first time goes into the log, as an event of its own."""
        said = {m["event"] for m in self.run.metrics if "event" in m}
        for f in self.run.findings:
            if f.rule not in said:
                self.run.log(step=step, event=f.rule, severity=f.severity, sentence=f.sentence)

    def _embed(self, es: EmbeddingSet, inputs: Mapping[str, Tensor], step: int) -> EmbeddingSet:
        self.model.eval()
        out = forward(_plain(self.model), inputs, self.fabric.device)
        self._learn(step + 1)
        return EmbeddingSet(out, light(es), source=str(self.run.path))

    def _state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        state: dict[str, Any] = {
            "model": _plain(self.model).state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": {str(k): v for k, v in optimizer["state"].items()},
            "random": {"cpu": torch.get_rng_state()},
        }
        if self.teacher is not None:
            state["teacher"] = self.teacher.state_dict()
        if self.queue:
            state["queue"] = dict(self.queue)
        if self.fabric.device.type == "cuda":
            state["random"]["cuda"] = torch.cuda.get_rng_state(self.fabric.device)
        return state

    def _restore(self) -> int | None:
        found = self.run.checkpoint()
        if found is None:
            if self.fabric.is_global_zero:
                self.run.forget_after(-1)
            return None
        step, state = found
        _plain(self.model).load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        groups = self.optimizer.state_dict()["param_groups"]
        kept = {int(k): v for k, v in state.get("optimizer", {}).items()}
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.queue |= {m: x.to(self.fabric.device) for m, x in state.get("queue", {}).items() if m in self.queue}
        if self.fabric.global_rank == 0:
            torch.set_rng_state(state["random"]["cpu"])
            self.run.forget_after(step)
        if "cuda" in state["random"] and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.fabric.device)
        return step


def _begin(model: nn.Module, before: Run) -> None:
    """The towers of another run, where they have the same names and shapes."""
    found = before.checkpoint()
    if found is None:
        raise InputError(f"{before.path}: train.start needs a run with a checkpoint")
    mine, theirs = model.state_dict(), found[1]["model"]
    shared = {k: x for k, x in theirs.items() if k in mine and mine[k].shape == x.shape}
    if not shared:
        raise InputError(f"{before.path}: none of its towers fits (train.start); use the same modalities and widths")
    model.load_state_dict(mine | shared)


def _plain(model: Any) -> nn.Module:
    """The towers themselves, without the wrappers of precision and of several processes."""
    inner = getattr(model, "module", model)
    return getattr(inner, "module", inner)


def _labels(learn: EmbeddingSet, s: Settings) -> Tensor | None:
    if not s.label:
        return None
    if s.label not in learn.items:
        raise unknown("column of the items (train.label)", s.label, learn.items.columns)
    return torch.from_numpy(columns.codes(learn.items[s.label])[0])


def _teacher(s: Settings, entry: Any) -> str:
    if s.teacher != "auto":
        return s.teacher
    return entry.teacher


def schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then half a cosine down to zero; the factor of the learning rate at a step."""
    rise = max(1, round(warmup * steps))
    if step <= rise:
        return step / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
