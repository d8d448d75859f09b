"""The recipe of the decision network: the loop, its checkpoints, its logs.

Everything random is drawn from (seed, step), so that a resumed run repeats an uninterrupted one
bit for bit on a CPU.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.utils.data import DataLoader, Dataset

from hdrmerge.errors import InputError, UsageError
from hdrmerge.io.atomic import atomic_path, write_bytes
from hdrmerge.models.bracket import Bracket
from hdrmerge.models.checkpoint import checkpoint_bytes
from hdrmerge.models.decider import Decider
from hdrmerge.training.config import TrainConfig
from hdrmerge.training.data import Patch, Scenes, Truth, batch_counts, collate, load_scenes
from hdrmerge.training.folders import Folders, cut_patch, find_folders
from hdrmerge.training.losses import decision_loss
from hdrmerge.training.render import render_patch
from hdrmerge.training.validate import Sets, validate, validation_sets, write_pictures

STATE, CURVES, SCORES, PICTURES = "state.pt", "curves.csv", "validation.jsonl", "validation.png"
WEIGHTS = "decider.safetensors"
COLUMNS = ("step", "loss", "norm", "radiance", "trust", "search")
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


@dataclass(slots=True)
class Run:
    """A run in progress."""

    config: TrainConfig
    model: Decider
    average: Decider
    optimizer: torch.optim.AdamW
    step: int = 0

    @classmethod
    def fresh(cls, config: TrainConfig) -> Run:
        """A run at step 0, its weights drawn from the seed."""
        torch.manual_seed(config.seed)
        model, average = (_placed(Decider(config.model), config.device) for _ in range(2))
        if config.start is not None:
            state = torch.load(config.start, map_location=config.device, weights_only=True)
            model.load_state_dict(state["average"])
        average.load_state_dict(model.state_dict())
        if config.part == "fill":
            for judging in (model.trunk, model.judge):
                judging.requires_grad_(False)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.rate, weight_decay=config.weight_decay)
        return cls(config, model, average, optimizer)

    def save(self, path: Path) -> None:
        """Write everything that ``load`` needs, atomically."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises InputError when it is not of such a network."""
        try:
            state = torch.load(path, map_location=self.config.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} is not a checkpoint of this configuration.", "Start anew in another --out."
            ) from error

    def advance(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser, skipped where it is not finite; the parts of its loss."""
        config = self.config
        bracket, truth = (_moved(part, config.device) for part in batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, config)
        kind = torch.device(config.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
            decision = self.model(bracket, truth.same if config.part == "fill" else None)
        loss, parts = decision_loss(bracket, decision, truth, config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for mean, new in pairs:
                mean.lerp_(new, 1.0 - keep)
        return {"loss": loss.item(), "norm": float(norm), **parts}

    def export(self, path: Path) -> None:
        """Write the averaged weights at half precision as a file for ``--weights``."""
        tensors = {name: t.half() for name, t in self.average.state_dict().items()}
        about = {"seed": str(self.config.seed), "steps": str(self.step)}
        write_bytes(path, checkpoint_bytes("decider", self.config.model, tensors, about))


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    tell: Callable[[int, dict[str, float]], None] | None = None,
    scored: Callable[[int, dict[str, float]], None] | None = None,
) -> Run:
    """Run a training, or go on with the one in ``out``.

    ``tell`` hears of every step, ``scored`` of every validation. Writes into ``out``: the state,
    the curves (CSV), the scores (JSON lines), validation pictures, and at the end the weights.
    Raises UsageError when ``out`` holds a run and ``resume`` is not asked for.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = out / STATE
    if state.exists() and not resume:
        raise UsageError(f"{out} already holds a run.", "Add --resume, or choose another --out.")
    run = Run.fresh(config)
    if state.exists():
        run.load(state)
    source, sets = _data(config)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")

    def note(table: dict[str, float]) -> None:
        with (out / SCORES).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": run.step, **table}) + "\n")
        if scored is not None:
            scored(run.step, table)

    if run.step == 0:
        note(validate(None, sets))
    saved = time.monotonic()
    with _curves(out / CURVES, run.step) as (handle, writer):
        for batch in _loader(source, config, run.step):
            parts = run.advance(batch)
            writer.writerow([run.step, *(f"{parts[name]:.6g}" for name in COLUMNS[1:])])
            if tell is not None:
                tell(run.step, parts)
            last = run.step == config.steps
            if last or time.monotonic() - saved > 60 * config.save_minutes:
                handle.flush()
                run.save(state)
                saved = time.monotonic()
            if last or run.step % config.validate_every == 0:
                note(_validated(run, sets, out))
    run.export(out / WEIGHTS)
    return run


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


def _validated(run: Run, sets: Sets, out: Path) -> dict[str, float]:
    average = run.average.to("cpu")
    table = validate(average, sets)
    write_pictures(average, sets, out / PICTURES)
    average.to(run.config.device)
    return table


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


@contextmanager
def _curves(path: Path, step: int) -> Iterator[tuple[TextIO, Any]]:
    """The log of the run; what it holds beyond ``step`` will be written again."""
    kept = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle))[1:]
        kept = [row for row in rows if int(row[0]) <= step]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerows([COLUMNS, *kept])
        yield handle, writer


def _placed(network: Decider, device: str) -> Decider:
    # mypy: torch's stubs know no memory_format alone
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _moved(part: Any, device: str) -> Any:
    """A named tuple of tensors on a device."""
    return type(part)(*(tensor.to(device) for tensor in part))
