"""Training the published networks: batches whose truth is known, runs that resume, the ablation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hdrmerge.errors import InputError, UsageError  # noqa: E402
from hdrmerge.frames import RadianceMap  # noqa: E402
from hdrmerge.io.exr import write_exr  # noqa: E402
from hdrmerge.models.checkpoint import load_checkpoint, load_network  # noqa: E402
from hdrmerge.simulate import oracle  # noqa: E402
from hdrmerge.training import ablation, direct  # noqa: E402
from hdrmerge.training.config import DataConfig  # noqa: E402
from hdrmerge.training.direct_config import (  # noqa: E402
    DirectConfig,
    MotionLoss,
    network_of,
    read_direct_config,
)
from hdrmerge.training.losses import motion_emphasised  # noqa: E402
from hdrmerge.training.pool import Examples, cut, fill, source_of  # noqa: E402

ROOT = Path(__file__).parents[2]
GENTLE = DataConfig(
    patch=64,
    static=1.0,
    full_well=(20000.0, 20000.0),
    read_noise=(2.0, 2.0),
    jpeg=(98, 98),
    handheld=0.0,
    exposure_error=0.0,
    response_error=0.0,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of about ten stops with soft texture; one is held out."""
    import cv2

    made = tmp_path_factory.mktemp("scenes")
    for i in range(3):
        rng = np.random.default_rng(i)
        logs = np.zeros((160, 240, 3), np.float32)
        for n in (3, 9, 27):
            grid = rng.normal(0, 1.2, (n, 2 * n, 1)) + rng.normal(0, 0.15, (n, 2 * n, 3))
            logs += cv2.resize(grid.astype(np.float32), (240, 160))
        write_exr(made / f"scene{i}.exr", RadianceMap(np.exp(logs)))
    return made


def config_for(folder: Path, **changes: Any) -> DirectConfig:
    base = DirectConfig(
        network="ahdrnet",
        scenes=str(folder),
        pool=6,
        steps=6,
        batch=2,
        crop=32,
        warmup=2,
        precision="fp32",
        validation_patches=1,
        validate_every=100,
        data=GENTLE,
        model={"width": 8, "growth": 8, "layers": 2, "blocks": 1},
    )
    return dataclasses.replace(base, **changes)


@pytest.fixture(scope="module")
def pool(folder: Path) -> Examples:
    config = config_for(folder)
    return fill(source_of(config, "train"), config)


def test_the_plain_loss_is_the_mean_error_of_the_mu_law() -> None:
    output, target = torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3, 4, 4), 0.01)
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    expected = (math.log1p(5000 * 0.25) - math.log1p(5000 * 0.01)) / math.log1p(5000)
    loss = motion_emphasised(output, target, nothing, nothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (4.0, 0.0), (0.0, 2.0), (4.0, 4.0)])
def test_the_motion_emphasised_loss_weighs_where_it_says(a: float, b: float) -> None:
    """A quarter moves, another is clipped; only these are wrong, by 0.1 and 0.2 of the mu-law."""
    target = torch.full((1, 3, 4, 4), 0.02)
    level = math.log1p(5000 * 0.02) / math.log1p(5000)
    moving, clipped = (torch.zeros(1, 1, 4, 4, dtype=torch.bool) for _ in range(2))
    moving[..., 0, :], clipped[..., 1, :] = True, True
    output = target.clone()
    for mask, error in ((moving, 0.1), (clipped, 0.2)):
        value = math.expm1((level + error) * math.log1p(5000)) / 5000
        output = torch.where(mask, torch.tensor(value), output)
    loss = motion_emphasised(output, target, moving, clipped, motion=a, saturated=b)
    expected = ((1 + a) * 0.1 + (1 + b) * 0.2) / 4 / (1 + a / 4 + b / 4)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_an_even_error_does_not_depend_on_the_weights() -> None:
    """They have mean 1, so that the learning rate means the same for every a and b."""
    output, target = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.1)
    moving = torch.rand(2, 1, 4, 4) > 0.5
    plain = motion_emphasised(output, target, moving, moving)
    weighted = motion_emphasised(output, target, moving, moving, motion=4.0, saturated=2.0)
    assert float(weighted) == pytest.approx(float(plain), rel=1e-5)


def test_batches_show_what_they_say(folder: Path, pool: Examples) -> None:
    """Crops, turns and exchanged colours keep frames and truth together: where the reference is
    well exposed it equals the truth at its exposure, in every frame, for nothing moves."""
    config = config_for(folder, batch=8)
    batch = cut(pool, config, 3)
    assert batch.linear.shape == (8, 3, 3, 32, 32) and batch.target.shape == (8, 3, 32, 32)
    assert not batch.moving.any()
    assert torch.equal(batch.exposures, torch.tensor([[0.25, 1.0, 4.0]]).repeat(8, 1))
    encoded = batch.encoded()
    for k in range(3):
        good = (batch.linear[:, k] > 0.1) & (batch.linear[:, k] < 0.8)
        ratio = encoded[:, k, 3:][good] / batch.target[good]
        assert good.sum() > 100 and abs(float(ratio.median()) - 1) < 0.03
        assert float((ratio - 1).abs().quantile(0.9)) < 0.15
    assert torch.equal(batch.clipped()[:, 0], batch.linear[:, 1].amax(1) >= 0.98)


def test_batches_are_drawn_from_seed_and_step(folder: Path, pool: Examples) -> None:
    config = config_for(folder)
    first, again = cut(pool, config, 5), cut(pool, config, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.linear, cut(pool, config, 6).linear)
    assert not torch.equal(first.linear, cut(pool, dataclasses.replace(config, seed=2), 5).linear)


def test_what_moves_is_marked_and_rounds_differ(folder: Path) -> None:
    moving = dataclasses.replace(GENTLE, static=0.0)
    config = config_for(folder, data=moving, pool=2)
    source = source_of(config, "train")
    first, second = fill(source, config, 0), fill(source, config, 1)
    assert 0 < first.moving.float().mean() < 1
    assert not torch.equal(first.linear, second.linear)
    assert torch.equal(fill(source, config, 1).linear, second.linear)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    folder: Path, pool: Examples, tmp_path: Path, optimizer: Any
) -> None:
    config = config_for(folder, optimizer=optimizer)
    whole = direct.train_direct(config, tmp_path / "whole", pool=pool)
    with pytest.raises(UsageError, match="already holds a run"):
        direct.train_direct(config, tmp_path / "whole", pool=pool)

    def stop(step: int, parts: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    eager = dataclasses.replace(config, save_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        direct.train_direct(eager, tmp_path / "parts", pool=pool, tell=stop)
    parts = direct.train_direct(config, tmp_path / "parts", pool=pool, resume=True)
    for a, b in zip(whole.average.parameters(), parts.average.parameters(), strict=True):
        assert torch.equal(a, b)
    logs = [(tmp_path / name / "curves.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 1 + config.steps


def test_a_run_can_start_from_weights_of_a_related_network(folder: Path, tmp_path: Path) -> None:
    """Encoder and merging part are taken, the attention, which differs, is drawn anew."""
    other = config_for(folder, seed=7)
    given = direct.fresh(other)
    direct.export(given, other, tmp_path / "ahdrnet.safetensors")
    config = config_for(folder, network="sk-ahdrnet", start=str(tmp_path / "ahdrnet.safetensors"))
    start = direct.fresh(config).model.state_dict()
    anew = direct.fresh(dataclasses.replace(config, start=None)).model.state_dict()
    for name, tensor in given.model.state_dict().items():
        if name.startswith(("encoder", "merge")):
            torch.testing.assert_close(start[name], tensor.half().float())
    assert torch.equal(start["attention.0.compare.weight"], anew["attention.0.compare.weight"])
    assert not torch.equal(start["merge.enter.weight"], anew["merge.enter.weight"])


def test_a_run_learns_and_leaves_weights_that_load(folder: Path, tmp_path: Path) -> None:
    tables: list[dict[str, float]] = []
    config = config_for(
        folder,
        network="kalantari",
        model={"width": 8},
        steps=60,
        rate=1e-2,
        ema=0.5,
        validate_every=30,
        precision="bf16",
        data=dataclasses.replace(GENTLE, static=0.0),
    )
    start = direct.validate(direct.fresh(config).average, direct.validation_examples(config))
    direct.train_direct(config, tmp_path, scored=lambda step, table: tables.append(table))
    assert len(tables) == 2 and tables[-1]["whole"] > start["whole"] + 1
    path = tmp_path / "kalantari.safetensors"
    assert load_checkpoint(path).about["stops"] == "-2,0,2"
    assert load_checkpoint(path).config == {"width": 8}
    network = load_network(path)
    frames = torch.rand(1, 3, 6, 16, 16)
    assert network(frames).shape == (1, 3, 16, 16)


def test_the_rate_rises_and_falls() -> None:
    config = DirectConfig("ahdrnet", "x", steps=1000, warmup=10, rate=1.0)
    assert direct.rate_at(0, config) == pytest.approx(0.1, rel=1e-3)
    assert direct.rate_at(500, config) == pytest.approx(0.505, rel=1e-3)
    assert direct.rate_at(1000, config) == pytest.approx(0.01)
    linear = dataclasses.replace(config, schedule="linear")
    rates = [direct.rate_at(step, linear) for step in (500, 999)]
    assert rates == pytest.approx([0.5, 0.001])
    constant = dataclasses.replace(config, schedule="constant")
    assert direct.rate_at(999, constant) == 1.0


def test_a_configuration_inherits_and_is_checked(folder: Path, tmp_path: Path) -> None:
    base = f'scenes = "{folder}"\nsteps = 5\n[model]\nwidth = 16\n[loss]\nmotion = 1.0\n'
    (tmp_path / "_base.toml").write_text(base)
    row = tmp_path / "row.toml"

    def read(text: str) -> DirectConfig:
        row.write_text(f'base = "_base.toml"\n{text}')
        return read_direct_config(row)

    config = read('network = "rdb-net"\nsteps = 7\n[model]\ngrowth = 8\n[loss]\nclipped = 2')
    assert network_of(row) == "rdb-net"
    assert (config.network, config.steps, config.model) == (
        "rdb-net",
        7,
        {"width": 16, "growth": 8},
    )
    assert config.loss == MotionLoss(1.0, 2.0)
    for text, message in (
        ('network = "decider"', "not trained by such a file"),
        ('network = "unet"', "no network"),
        ('network = "ahdrnet"\ncolour = 1', "does not know colour"),
        ('network = "ahdrnet"\nsteps = "many"', "should be like"),
        ('network = "ahdrnet"\ncrop = 500', "do not fit"),
        ('network = "ahdrnet"\noptimizer = "sgd"', "must be one of adamw, muon"),
        ('network = "ahdrnet"\nstops = [-2.0, 0.0]', "stops must be three"),
        ("steps = 3", "must say network"),
    ):
        with pytest.raises(UsageError, match=message):
            read(text)
    row.write_text('base = "nowhere.toml"')
    with pytest.raises(InputError, match="does not exist"):
        read_direct_config(row)


def test_the_recipes_of_the_repository_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if not Path("../shared/data/hdr").is_dir():
        pytest.skip("the scenes that the recipes name are not here")
    for name in ("ahdrnet", "sk-ahdrnet"):
        full = read_direct_config(ROOT / f"configs/{name}.toml")
        half = read_direct_config(ROOT / f"configs/{name}-half.toml")
        assert full.network == half.network == name and full.model == {}
    rows = ablation.read_rows(ROOT / "configs/ablation")
    compared = {config.network for config in rows.values()}
    assert {"ahdrnet", "drdb-net", "a-rdb-net", "rdb-net", "rb-net", "kalantari"} <= compared
    assert {"sk-ahdrnet", "sk-ahdrnet-channel", "sk-ahdrnet-spatial"} <= compared
    rows = ablation.read_rows(ROOT / "configs/ablation-loss")
    losses = {(c.loss.motion, c.loss.clipped) for c in rows.values()}
    assert {(0, 0), (1, 1), (2, 2), (4, 4), (4, 0), (0, 4)} == losses


def test_rows_that_would_not_be_comparable_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "_base.toml").write_text(f'scenes = "{folder}"\nsteps = 5\n')
    (tmp_path / "a.toml").write_text('base = "_base.toml"\nnetwork = "ahdrnet"\n')
    with pytest.raises(InputError, match="no two configurations"):
        ablation.read_rows(tmp_path)
    (tmp_path / "b.toml").write_text('base = "_base.toml"\nnetwork = "rb-net"\n')
    assert list(ablation.read_rows(tmp_path)) == ["a", "b"]
    (tmp_path / "b.toml").write_text('base = "_base.toml"\nnetwork = "rb-net"\nsteps = 6\n')
    with pytest.raises(UsageError, match="differ in steps"):
        ablation.read_rows(tmp_path)


def test_mean_and_spread_of_a_row() -> None:
    row = ablation.Row("x", runs={1: {"motion": 20.0}, 2: {"motion": 23.0}, 3: {"motion": 21.0}})
    assert row.mean("motion") == pytest.approx(64 / 3) and row.spread("motion") == 1.5
    assert math.isnan(ablation.Row("y", runs={1: {"motion": 20.0}}).spread("motion"))


def test_an_ablation_trains_scores_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "SIZE", (96, 128))
    monkeypatch.setattr(ablation, "BRACKETS", 2)
    base = config_for(folder, steps=2, pool=2, seeds=(1, 2))
    rows = {
        "full": base,
        "estimator": dataclasses.replace(base, network="kalantari", model={"width": 4}, seeds=(1,)),
    }
    said: list[str] = []
    table = {row.name: row for row in ablation.run_ablation(rows, tmp_path, tell=said.append)}
    assert list(table) == [*ablation.BASELINES, "full", "estimator"]
    assert sorted(table["full"].runs) == [1, 2] and sorted(table["estimator"].runs) == [1]
    assert table["full"].runs[1] != table["full"].runs[2]
    assert table["oracle"].mean("motion") > table["plain merge"].mean("motion") + 3
    assert table["oracle"].mean("static") == pytest.approx(
        table["plain merge"].mean("static"), abs=0.5
    )
    assert table["estimator"].parameters == 18 * 49 * 4 + 4 + 16 * 25 + 4 + 8 * 9 + 2 + 18 + 9
    text = (tmp_path / "ablation.md").read_text()
    assert "| full |" in text and "±" in text
    assert said.count("rendering") == 1 and len(said) == 4
    said.clear()
    again = {row.name: row for row in ablation.run_ablation(rows, tmp_path, tell=said.append)}
    assert said == []
    assert again["full"].runs == table["full"].runs


def test_the_brackets_of_the_scores_are_what_they_say(folder: Path) -> None:
    bracket = ablation.validation_brackets(config_for(folder))[0]
    assert bracket.stops == (-2.0, 0.0, 2.0) and bracket.motion.mean() > 0.01
    stack = ablation.known_stack(bracket)
    linear, _ = stack.linear(1)
    expected = oracle.single_frame(bracket, 1)
    np.testing.assert_allclose(linear, expected, atol=0.01)
