"""Training: patches whose truth is known, a loss that knows it, runs that can be resumed."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hdrmerge.errors import InputError, UsageError  # noqa: E402
from hdrmerge.frames import RadianceMap  # noqa: E402
from hdrmerge.io.exr import write_exr  # noqa: E402
from hdrmerge.models.bracket import merge  # noqa: E402
from hdrmerge.models.checkpoint import load_network  # noqa: E402
from hdrmerge.models.decider import Decider, DeciderConfig, Decision, compose  # noqa: E402
from hdrmerge.training import train as trainer  # noqa: E402
from hdrmerge.training.config import DataConfig, LossConfig, TrainConfig, read_config  # noqa: E402
from hdrmerge.training.data import Scenes, batch_counts, collate, load_scenes  # noqa: E402
from hdrmerge.training.folders import cut_patch, find_folders  # noqa: E402
from hdrmerge.training.losses import decision_loss, motion_mask, score  # noqa: E402
from hdrmerge.training.movers import Layers, random_crop  # noqa: E402
from hdrmerge.training.render import render_patch  # noqa: E402

SMALL = DeciderConfig(widths=(8, 8, 8, 8), search=4, descriptor=8, fill=8)
GENTLE = DataConfig(
    patch=96,
    static=0.0,
    speed=40.0,
    full_well=(20000.0, 20000.0),
    read_noise=(2.0, 2.0),
    jpeg=(98, 98),
    handheld=0.0,
    exposure_error=0.0,
    response_error=0.0,
    scale=(1.0, 1.0),
)


def picture(seed: int, size: tuple[int, int] = (160, 240)) -> np.ndarray:
    """A scene of about ten stops with soft texture."""
    rng = np.random.default_rng(seed)
    import cv2

    logs = 0.0
    for n in (3, 9, 27):
        grid = rng.normal(0, 1.2, (n, 2 * n, 1)) + rng.normal(0, 0.15, (n, 2 * n, 3))
        logs = logs + cv2.resize(grid.astype(np.float32), size[::-1])
    return np.exp(logs).astype(np.float32)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    images = tuple(picture(seed) for seed in range(3))
    return Scenes(images, np.empty((0, 1024), np.float32))


def write_scenes(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for i in range(count):
        write_exr(folder / f"scene{i}.exr", RadianceMap(picture(i)))
    return folder


def config_for(folder: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        scenes=str(folder),
        steps=6,
        batch=2,
        warmup=2,
        workers=0,
        precision="fp32",
        validate_every=100,
        validation_patches=1,
        data=dataclasses.replace(GENTLE, patch=64),
        model=SMALL,
    )
    return dataclasses.replace(base, **changes)


def test_a_patch_is_a_function_of_seed_and_index(scenes: Scenes) -> None:
    first, again = (render_patch(scenes, DataConfig(patch=64), 5, 9, count=4) for _ in range(2))
    other = render_patch(scenes, DataConfig(patch=64), 5, 10, count=4)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.truth, other.truth)


@pytest.mark.parametrize("index", range(4))
def test_patches_hold_together(scenes: Scenes, index: int) -> None:
    patch = render_patch(scenes, DataConfig(patch=64), 1, index, count=2 + index)
    n = 2 + index
    assert patch.linear.shape == (n, 64, 64, 3) and patch.same.shape == (n, 64, 64)
    assert patch.flow.shape == (n, 2, 16, 16)
    assert np.all(np.diff(patch.exposures) > 0) and patch.exposures[patch.reference] == 1
    assert patch.same[patch.reference].all()
    assert patch.linear.min() >= 0 and patch.linear.max() <= 1
    assert np.isfinite(patch.truth).all() and patch.truth.min() > 0


def test_nothing_moves_in_a_static_patch(scenes: Scenes) -> None:
    config = dataclasses.replace(GENTLE, static=1.0)
    patch = render_patch(scenes, config, 1, 0, stops=(-3.0, 0.0, 3.0))
    assert patch.same.all()
    assert np.nanmax(np.abs(patch.flow)) == 0


@pytest.mark.parametrize("index", range(3))
def test_the_truth_is_what_valid_samples_say(scenes: Scenes, index: int) -> None:
    """Merged by the true labels, what is covered comes out as the truth."""
    patch = render_patch(scenes, GENTLE, 2, index, stops=(-2.0, 0.0, 2.0))
    bracket, truth = collate([patch])
    radiance, covered = merge(bracket, truth.same)
    seen = (covered > 0.99).expand_as(radiance) & (truth.radiance > 0.02)
    seen &= truth.radiance < 3.9  # what the shortest frame clips is not known
    error = (radiance / truth.radiance)[seen].log().abs()
    assert float(error.median()) < 0.03


def test_the_flow_leads_to_the_same_content(scenes: Scenes) -> None:
    rng = np.random.default_rng(4)
    config = dataclasses.replace(GENTLE, movers=2)
    background = random_crop(rng, scenes, 96, (1.0, 1.0))
    layers = Layers(rng, scenes, config, 2, 0, background)
    here, there = (layers.view(k)[0] for k in range(2))
    flow = layers.flow()[1].astype(np.float32)
    y, x = np.mgrid[0:24, 0:24] * 4 + 1.5
    known = np.isfinite(flow).all(axis=0) & (np.abs(flow).max(axis=0) > 1)
    assert known.any()
    ty, tx = np.round(y + flow[1])[known].astype(int), np.round(x + flow[0])[known].astype(int)
    sy, sx = y[known].astype(int), x[known].astype(int)
    followed = np.abs(np.log(there[ty, tx] / here[sy, sx])).mean(axis=1)
    stayed = np.abs(np.log(there[sy, sx] / here[sy, sx])).mean(axis=1)
    assert np.median(followed) < 0.5 * np.median(stayed)


def test_patches_with_something_lost(scenes: Scenes) -> None:
    """Drawn again until the reference clips what no shorter frame shows (luck)."""
    config = dataclasses.replace(GENTLE, lost=0.05)
    shares = []
    for index in range(12):
        patch = render_patch(scenes, config, 3, index, count=3)
        assert patch.reference > 0
        lost = patch.truth.max(axis=2) >= 1
        for k in range(patch.reference):
            lost &= ~patch.same[k]
        shares.append(lost.mean())
    assert np.median(shares) > 0.04


def test_the_loss_knows_the_truth(scenes: Scenes) -> None:
    bracket, truth = collate(
        [render_patch(scenes, GENTLE, 6, i, stops=(-3.0, 0.0, 3.0)) for i in range(2)]
    )
    fine = 20.0 * (truth.same - 0.5)
    scores = torch.zeros(2, 2, 81, 12, 12)
    sources = torch.tensor([[0, 1], [0, 1]])
    weight = torch.ones(2, 96, 96)
    right = Decision(truth.same, fine, truth.radiance, weight, scores, sources)
    wrong = right._replace(trust=torch.ones_like(truth.same), logits=-fine)
    config = LossConfig()
    good, parts = decision_loss(bracket, right, truth, config)
    bad, _ = decision_loss(bracket, wrong, truth, config)
    assert float(good) < 0.5 * float(bad)
    assert parts["radiance"] < 0.02 and parts["trust"] < 0.01

    exact = score(bracket, truth.radiance, truth, covered=torch.ones(2, 1, 96, 96))
    assert all(error == 0 for error, _ in exact.values())
    assert exact["mask"][1] + exact["static"][1] == exact["all"][1]
    assert exact["mask"][1] == pytest.approx(3 * float(motion_mask(truth).sum()))
    assert float(compose(bracket, right).min()) >= 0


def test_counts_follow_their_weights() -> None:
    config = DataConfig(counts=(2, 5), count_weights=(1.0, 3.0))
    counts = batch_counts(config, 1, 4000)
    assert set(counts) == {2, 5}
    assert 0.7 < counts.count(5) / 4000 < 0.8


def test_the_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(scenes="", steps=1000, warmup=10, decay=0.2, rate=1.0)
    rates = [trainer.rate_at(step, config) for step in (0, 4, 10, 500, 800, 900, 999)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 1.0, 0.5, 0.005])


def test_scenes_are_read_and_held_out(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", 3)
    assert len(load_scenes(folder, "train").images) == 2
    (folder / "INDEX.tsv").write_text("file\tsplit\nscene0.exr\tval\nscene1.exr\ttrain\n")
    held_out = load_scenes(folder, "val").images
    assert len(held_out) == 1
    np.testing.assert_allclose(held_out[0], picture(0), rtol=2e-3)
    with pytest.raises(InputError):
        load_scenes(folder, "exam")


def assert_equal_states(first: Decider, second: Decider) -> None:
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_resumed_run_repeats_an_uninterrupted_one(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes")
    config = config_for(folder)
    whole = trainer.train(config, tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(step: int, parts: dict[str, float]) -> None:
        if step == 4:
            raise StopError

    cut = dataclasses.replace(config, save_minutes=0.0)
    with pytest.raises(StopError):
        trainer.train(cut, tmp_path / "cut", tell=stop)
    resumed = trainer.train(cut, tmp_path / "cut", resume=True)
    assert resumed.step == whole.step == 6
    assert_equal_states(resumed.model, whole.model)
    assert_equal_states(resumed.average, whole.average)
    logs = [list(csv.reader((tmp_path / run / "curves.csv").open())) for run in ("whole", "cut")]
    assert logs[0] == logs[1] and [row[0] for row in logs[0]] == ["step", *"123456"]

    network = load_network(tmp_path / "whole" / "decider.safetensors")
    assert isinstance(network, Decider) and network.config == SMALL
    with pytest.raises(UsageError, match="already holds"):
        trainer.train(config, tmp_path / "whole")
    with pytest.raises(InputError):
        other = dataclasses.replace(config, model=dataclasses.replace(SMALL, fill=16))
        trainer.train(other, tmp_path / "whole", resume=True)


def test_the_fill_is_trained_on_its_own(tmp_path: Path) -> None:
    """What judges the frames stays as it started; the fill's weights change."""
    folder = write_scenes(tmp_path / "scenes")
    config = config_for(folder, steps=2)
    first = trainer.train(config, tmp_path / "first").average.state_dict()
    start = str(tmp_path / "first" / "state.pt")
    data = dataclasses.replace(config.data, lost=0.01, counts=(3,), count_weights=(1.0,))
    fill = dataclasses.replace(config, part="fill", start=start, data=data, rate=1e-2)
    second = trainer.train(fill, tmp_path / "second").average.state_dict()
    for name, tensor in second.items():
        judges = name.startswith(("trunk.", "judge."))
        assert torch.equal(tensor, first[name]) or not judges, name
    assert not torch.equal(second["mixer.2.bias"], first["mixer.2.bias"])


@pytest.mark.slow
def test_a_hundred_steps_learn_to_see_ghosts(tmp_path: Path) -> None:
    """Small, and yet within a hundred steps far better than trusting everything."""
    folder = write_scenes(tmp_path / "scenes", 8)
    config = config_for(
        folder,
        steps=100,
        batch=4,
        rate=3e-3,
        precision="bf16",
        validate_every=50,
        validation_patches=4,
        data=dataclasses.replace(GENTLE, counts=(3,), count_weights=(1.0,)),
        model=DeciderConfig(widths=(16, 16, 16, 16), search=4, descriptor=16, fill=16),
    )
    tables: list[dict[str, float]] = []
    trainer.train(config, tmp_path / "run", scored=lambda step, table: tables.append(table))
    plain, last = tables[0], tables[-1]
    assert last["network -3/0/+3 valid"] > plain["plain -3/0/+3 valid"] + 4
    assert last["network static static"] > plain["plain static static"] - 2
    assert (tmp_path / "run" / "validation.png").exists()


def test_configurations_are_checked(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", 1)
    path = tmp_path / "run.toml"

    def read(text: str) -> TrainConfig:
        path.write_text(f'scenes = "{folder.as_posix()}"\n{text}')
        return read_config(path)

    config = read("steps = 12\nrate = 1\n[data]\njpeg = [90, 95]\n[model]\nwidths = [8, 8, 8, 8]\n")
    assert config.steps == 12 and config.data.jpeg == (90, 95)
    assert config.model.widths == (8, 8, 8, 8)
    for text, word in (
        ("step = 12", "step"),
        ("steps = 'many'", "steps"),
        ("[data]\nspeed = 'fast'", "speed"),
        ("[losses]\nmotion = 1.0", "losses"),
        ("responses = 'nowhere.npz'", "nowhere"),
    ):
        with pytest.raises((UsageError, InputError), match=word):
            read(text)
    path.write_text("steps = 3")
    with pytest.raises(UsageError, match="scenes"):
        read_config(path)
    path.write_text("steps = = 3")
    with pytest.raises(InputError, match="TOML"):
        read_config(path)


def test_the_recipe_is_a_configuration() -> None:
    recipe = Path(__file__).parents[2] / "configs" / "decider.toml"
    if not (Path(__file__).parents[2] / ".." / "shared").exists():
        pytest.skip("the recipe's scenes are not here")
    import os

    before = Path.cwd()
    os.chdir(recipe.parents[1])
    try:
        config = read_config(recipe)
    finally:
        os.chdir(before)
    assert config.model == DeciderConfig()


def write_kalantari(folder: Path) -> Path:
    """A scene in that layout: gamma 2.2, something moves in the first frame."""
    import cv2
    import tifffile

    folder.mkdir(parents=True)
    truth = picture(1, (96, 112))
    truth /= np.quantile(truth, 0.8)
    for k, stop in enumerate((-2.0, 0.0, 2.0)):
        seen = truth.copy()
        if k == 0:
            seen[20:50, 30:60] *= 3.0
        codes = np.clip(seen * 2.0**stop, 0, 1) ** (1 / 2.2) * 65535
        tifffile.imwrite(folder / f"{k}.tif", np.round(codes).astype(np.uint16))
    (folder / "exposure.txt").write_text("0\n2\n4\n")
    cv2.imwrite(str(folder / "HDRImg.hdr"), np.ascontiguousarray(0.25 * truth[..., ::-1]))
    return folder


def test_folders_in_kalantari_s_layout(tmp_path: Path) -> None:
    write_kalantari(tmp_path / "set" / "001")
    folders = find_folders(tmp_path / "set", "train")
    patch = cut_patch(folders, 96, 1, 0)
    assert patch.reference == 1
    np.testing.assert_allclose(patch.exposures, [0.25, 1.0, 4.0], rtol=1e-6)
    middle = (patch.truth > 0.05) & (patch.truth < 0.9)
    ratio = patch.linear[1][middle] / patch.truth[middle]
    assert 0.97 < np.median(ratio) < 1.03  # the truth's unit has been found
    assert 0.05 < 1 - patch.same[0].mean() < 0.4 and patch.same[2].mean() > 0.95

    config = config_for(tmp_path / "set", layout="kalantari", steps=2)
    assert trainer.train(config, tmp_path / "run").step == 2

    (tmp_path / "set" / "001" / "exposure.txt").write_text("0 2")
    with pytest.raises(InputError, match="three"):
        cut_patch(folders, 96, 1, 0)
    with pytest.raises(InputError):
        find_folders(tmp_path / "nothing", "train")
