"""The recipe of the decision network.

Everything random is drawn from (seed, step), so that a resumed run repeats an uninterrupted one
bit for bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from hdrmerge.models.bracket import Bracket
from hdrmerge.models.decider import Decider
from hdrmerge.training.config import TrainConfig
from hdrmerge.training.data import Patch, Scenes, Truth, batch_counts, collate, load_scenes
from hdrmerge.training.folders import Folders, cut_patch, find_folders
from hdrmerge.training.losses import decision_loss
from hdrmerge.training.render import render_patch
from hdrmerge.training.run import Tell, Trainee, follow, note, open_run
from hdrmerge.training.validate import Sets, validate, validation_sets, write_pictures

PICTURES, WEIGHTS = "validation.png", "decider.safetensors"
COLUMNS = ("loss", "norm", "radiance", "trust", "search")
Batch = tuple[Bracket, Truth]


class Batches(Dataset[Batch]):
    """Batch ``step`` of a run, rendered (or cut from photographs) when it is asked for."""

    def __init__(self, source: Scenes | Folders, config: TrainConfig) -> None:
        self.source, self.config = source, config
        self.counts = batch_counts(config.data, config.seed, config.steps)

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        first = step * self.config.batch
        indices = range(first, first + self.config.batch)
        return collate([self.patch(i, self.counts[step]) for i in indices])

    def patch(self, index: int, count: int) -> Patch:
        config = self.config
        if isinstance(self.source, Folders):
            return cut_patch(self.source, config.data.patch, config.seed, index)
        return render_patch(self.source, config.data, config.seed, index, count=count)


def rate_at(step: int, config: TrainConfig) -> float:
    """Learning rate of a step: it rises, stays, and falls linearly to nothing."""
    rise = (step + 1) / max(1, config.warmup)
    fall = (config.steps - step) / max(1.0, config.decay * config.steps)
    return config.rate * min(1.0, rise, fall)


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    tell: Tell | None = None,
    scored: Tell | None = None,
) -> Trainee:
    """Run a training, or go on with the one in ``out``.

    ``tell`` hears of every step, ``scored`` of every validation. Writes into ``out``: the state,
    the curves (CSV), the scores (JSON lines), validation pictures, and at the end the weights.
    Raises UsageError when ``out`` holds a run and ``resume`` is not asked for.
    """
    trainee = fresh(config)
    open_run(out, trainee, asdict(config), resume=resume)
    source, sets = _data(config)

    def steps() -> Iterator[dict[str, float]]:
        for batch in _loader(source, config, trainee.step):
            yield advance(trainee, config, batch)

    def validated() -> dict[str, float]:
        average = trainee.average.to("cpu")
        assert isinstance(average, Decider)
        table = validate(average, sets)
        write_pictures(average, sets, out / PICTURES)
        average.to(config.device)
        return table

    if trainee.step == 0:
        note(out, 0, validate(None, sets), scored)
    follow(trainee, config, out, steps(), COLUMNS, validate=validated, tell=tell, scored=scored)
    trainee.export(out / WEIGHTS, "decider", config.model, config.seed)
    return trainee


def fresh(config: TrainConfig) -> Trainee:
    """A run at step 0, its weights drawn from the seed or those of ``config.start``."""
    trainee = Trainee.fresh(
        lambda: Decider(config.model), config.seed, config.device, config.rate, config.weight_decay
    )
    if config.start is not None:
        trainee.start_from(Path(config.start))
    model = trainee.model
    assert isinstance(model, Decider)
    if config.part == "fill":
        for judging in (model.trunk, model.judge):
            judging.requires_grad_(False)
    return trainee


def advance(trainee: Trainee, config: TrainConfig, batch: Batch) -> dict[str, float]:
    """One step; the parts of its loss."""
    bracket, truth = (_moved(part, config.device) for part in batch)
    kind = torch.device(config.device).type
    with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
        decision = trainee.model(bracket, truth.same if config.part == "fill" else None)
    loss, parts = decision_loss(bracket, decision, truth, config.loss)
    rate = rate_at(trainee.step, config)
    norm = trainee.learn(loss, rate=rate, clip=config.clip, ema=config.ema)
    return {"loss": loss.item(), "norm": norm, **parts}


def _data(config: TrainConfig) -> tuple[Scenes | Folders, Sets]:
    """What is trained on, and the fixed patches for validation."""
    folder, count = Path(config.scenes), config.validation_patches
    if config.layout == "kalantari":
        held = find_folders(folder, "val")
        cut = [cut_patch(held, config.data.patch, 777, i) for i in range(count)]
        return find_folders(folder, "train"), {folder.name: [collate([patch]) for patch in cut]}
    responses = None if config.responses is None else Path(config.responses)
    held_out = load_scenes(folder, "val", responses)
    sets = validation_sets(held_out, config.data, count)
    return load_scenes(folder, "train", responses), sets


def _loader(source: Scenes | Folders, config: TrainConfig, step: int) -> DataLoader[Batch]:
    """The batches from ``step`` to the end of the run, rendered ahead by worker processes."""
    return DataLoader(
        Batches(source, config),
        batch_size=None,
        sampler=range(step, config.steps),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _moved(part: Any, device: str) -> Any:
    """A named tuple of tensors on a device."""
    return type(part)(*(tensor.to(device) for tensor in part))
