"""How reliably brackets are found: folders of simulated brackets of every kind that goes wrong.

    python tests/benchmarks/grouping.py [--each 40] [--only KIND] [--real FOLDER] [--scenes FOLDER]

For each kind: brackets found right, right but flagged as doubtful, wrong and flagged, and silently
wrong (which counts a bracket that was left out or mixed up, and one made up of single shots).
``--real`` adds real brackets (one a sub-folder), renamed and mixed into one folder; ``--scenes``
HDR pictures (.exr) that are photographed as brackets. ``--keep`` leaves the folders there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]

from card import Body, Card, Truth, make_scene  # noqa: E402

from hdrmerge.batch.find import find_brackets  # noqa: E402
from hdrmerge.batch.plan import Plan  # noqa: E402

Rng = np.random.Generator
STEPS = (1 / 3, 0.5, 2 / 3, 1.0, 4 / 3, 5 / 3, 2.0, 3.0, 4.0)


def order_of(rng: Rng, count: int, step: float) -> list[float]:
    """Exposures of a bracket in one of the orders that cameras use."""
    up = [(k - (count - 1) // 2) * step for k in range(count)]
    kind = rng.integers(0, 4)
    if kind == 0:
        return up
    if kind == 1:
        return up[::-1]
    middle, rest = up[(count - 1) // 2], [s for s in up if s != up[(count - 1) // 2]]
    return [middle, *rest] if kind == 2 else sorted(up, key=lambda s: (abs(s - middle), s))


def base_time(rng: Rng, stops: list[float]) -> float:
    """A shutter time that keeps all of a bracket within what cameras offer."""
    low, high = -12.5 - min(stops), 4.5 - max(stops)
    low, high = max(low, -9), min(high, -3)
    thirds = rng.integers(round(3 * min(low, high)), round(3 * max(low, high)) + 1)
    return float(2.0 ** (thirds / 3))


def habit(rng: Rng) -> list[float]:
    """The usual brackets: 3, 5 or 7 frames."""
    count = int(rng.choice((3, 3, 3, 5, 5, 7)))
    return order_of(
        rng, count, float(rng.choice((1.0, 4 / 3, 2.0, 2.0, 3.0) if count == 3 else (1.0, 2.0)))
    )


def plain(card: Card, rng: Rng, n: int) -> None:
    stops = habit(rng)
    for _ in range(n):
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops))
        card.wait(rng.uniform(4, 60))


def every_shape(card: Card, rng: Rng, n: int) -> None:
    """2 to 9 frames, 1/3 to 4 stops, all orders, never the same twice."""
    for _ in range(n):
        count = int(rng.integers(2, 10))
        step = float(rng.choice([s for s in STEPS if s * (count - 1) <= 14]))
        stops = order_of(rng, count, step)
        base = base_time(rng, stops)
        if step == 0.5:
            base = 2.0 ** round(np.log2(base))
        card.bracket(make_scene(rng), stops, base=base, halves=step == 0.5)
        card.wait(rng.uniform(4, 60))


def iso(card: Card, rng: Rng, n: int) -> None:
    for _ in range(n):
        card.bracket(make_scene(rng), order_of(rng, 3, 1.0), vary="iso")
        card.wait(rng.uniform(4, 60))


def aperture(card: Card, rng: Rng, n: int) -> None:
    for _ in range(n):
        card.bracket(make_scene(rng), order_of(rng, 3, 1.0), vary="aperture")
        card.wait(rng.uniform(4, 60))


def back_to_back(card: Card, rng: Rng, n: int) -> None:
    """The same view again and again without a pause, metered anew each time."""
    stops = habit(rng)
    scene, base = make_scene(rng), base_time(rng, stops)
    for k in range(n):
        if k % 4 == 0:
            scene, base = make_scene(rng), base_time(rng, stops)
        card.bracket(scene, stops, base=base * 2 ** float(rng.choice((0, 0, 1 / 3, -1 / 3))))


def singles_between(card: Card, rng: Rng, n: int) -> None:
    stops = habit(rng)
    for _ in range(n):
        scene, base = make_scene(rng), base_time(rng, stops)
        for _ in range(rng.integers(0, 3)):  # a test shot of the view, or another view
            card.single(scene if rng.random() < 0.5 else make_scene(rng), base=base)
            card.wait(rng.uniform(1, 15))
        card.bracket(scene, stops, base=base)
        card.wait(rng.uniform(1, 15))


def bursts_between(card: Card, rng: Rng, n: int) -> None:
    stops = habit(rng)
    for _ in range(n):
        scene = make_scene(rng)
        for _ in range(rng.integers(3, 8)):
            card.single(scene, base=1 / 60)
        card.wait(rng.uniform(1, 15))
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops))
        card.wait(rng.uniform(1, 15))


def metered_singles(card: Card, rng: Rng, n: int) -> None:
    """Single shots of different views, each metered: no bracket among them."""
    for _ in range(3 * n):
        card.single(make_scene(rng), base=float(2.0 ** rng.uniform(-9, -4)))
        card.wait(rng.uniform(1, 20))


def metered_bursts(card: Card, rng: Rng, n: int) -> None:
    """Bursts in changing light, the exposure following it: no bracket among them."""
    for _ in range(n):
        scene, light = make_scene(rng), 0.0
        for _ in range(rng.integers(4, 12)):
            light += float(rng.choice((-1, 0, 0, 1))) / 3
            card.single(scene * np.float32(2.0**-light), light, base=2.0**-6)
        card.wait(rng.uniform(4, 60))


def time_lapse(card: Card, rng: Rng, n: int) -> None:
    """A sunset, one frame in five seconds, exposed longer and longer."""
    scene, light = make_scene(rng), 0.0
    for _ in range(4 * n):
        light += float(rng.choice((0, 0, 1))) / 3
        card.single(scene * np.float32(2.0**-light), light, base=2.0**-12)
        card.wait(5)
        light = light if light < 12 else 0.0


def same_clock(card: Card, rng: Rng, n: int) -> None:
    """Each bracket begins at the same moment: a clock that was reset, or made-up metadata."""
    start = card.now
    for _ in range(n):
        card.now = start
        stops = habit(rng)
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops))


def dim(card: Card, rng: Rng, n: int) -> None:
    """Night: most of every frame near black, four stops apart."""
    stops = order_of(rng, 3, 4.0)
    for _ in range(n):
        scene = make_scene(rng) ** np.float32(1.5) / 30
        card.bracket(scene, stops, base=base_time(rng, stops), shake=0.01)
        card.wait(rng.uniform(1, 60))


def interrupted(card: Card, rng: Rng, n: int) -> None:
    """Every fifth bracket lacks a frame."""
    stops = habit(rng)
    for k in range(n):
        skip = int(rng.integers(0, len(stops))) if k % 5 == 4 else None
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops), skip=skip)
        card.wait(rng.uniform(2, 30))


def pauses(card: Card, rng: Rng, n: int) -> None:
    """A pause of up to two minutes inside, at times next to none between brackets."""
    stops = habit(rng)
    for _ in range(n):
        at = int(rng.integers(1, len(stops))), float(rng.uniform(5, 120))
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops), pause_at=at)
        card.wait(rng.uniform(0.5, 20))


def retake(card: Card, rng: Rng, n: int) -> None:
    """Every fourth bracket repeats a frame in the middle."""
    stops = order_of(rng, 3, 2.0)
    for k in range(n):
        shots = [stops[0], stops[1], *stops[1:]] if k % 4 == 3 else stops
        card.bracket(make_scene(rng), shots, base=base_time(rng, stops))
        card.wait(rng.uniform(4, 60))


def panorama(card: Card, rng: Rng, n: int) -> None:
    """Brackets across a wide view, a third of each in the next, one exposure for all."""
    stops = habit(rng)
    for k in range(n):
        if k % 8 == 0:
            wide, base = make_scene(rng, (64, 600)), base_time(rng, stops)
            card.wait(60)
        left = (k % 8) * 64
        card.bracket(wide[:, left : left + 96], stops, base=base)
        card.wait(rng.uniform(0.5, 3))


def hand_held(card: Card, rng: Rng, n: int) -> None:
    stops = habit(rng)
    for _ in range(n):
        card.bracket(make_scene(rng), stops, base=base_time(rng, stops), shake=0.015)
        card.wait(rng.uniform(1, 60))


def slow(card: Card, rng: Rng, n: int) -> None:
    """By hand on a tripod: seconds between frames, long exposures."""
    for _ in range(n):
        count = int(rng.integers(3, 10))
        card.pause = float(rng.uniform(3, 15))
        stops = order_of(rng, count, 1.0)
        card.bracket(make_scene(rng), stops, base=2.0 ** (3 - max(stops)))
        card.wait(rng.uniform(5, 90))


def zooms(card: Card, rng: Rng, n: int) -> None:
    stops = habit(rng)
    for _ in range(n):
        scene, base = make_scene(rng), base_time(rng, stops)
        focal = float(rng.uniform(16, 70))
        card.bracket(scene, stops, base=base, focal=focal)
        card.single(scene, stops[0] + 1, base=base, focal=focal * 1.4)
        card.wait(rng.uniform(1, 20))


def mixed(card: Card, rng: Rng, n: int) -> None:
    """All of it on one card."""
    kinds = (plain, every_shape, back_to_back, singles_between, bursts_between, interrupted)
    kinds += (pauses, panorama, hand_held, slow, metered_singles)
    for _ in range(max(1, n // 4)):
        kinds[rng.integers(0, len(kinds))](card, rng, int(rng.integers(2, 7)))
        card.pause = 0.25
        card.wait(rng.uniform(10, 600))


Kind = tuple[Callable[[Card, Rng, int], None], Body, dict[str, object], str]
_SECONDS = Body(sub_seconds=False)
KINDS: dict[str, Kind] = {
    "plain": (plain, Body(), {}, ""),
    "marked": (every_shape, Body(marks=True, bias=True), {}, ""),
    "Canon": (mixed, Body(make="Canon", maker="canon", marks=True, bias=True), {}, ""),
    "Nikon": (mixed, Body(make="NIKON", maker="nikon", marks=True), {}, ""),
    "Sony": (mixed, Body(make="SONY", maker="sony"), {}, ""),
    "bias only": (mixed, Body(bias=True), {}, ""),
    "2..9 frames, 1/3..4 stops": (every_shape, Body(), {}, ""),
    "ISO brackets": (iso, Body(), {}, ""),
    "aperture brackets": (aperture, Body(), {}, ""),
    "back to back": (back_to_back, Body(), {}, ""),
    "back to back, whole seconds": (back_to_back, _SECONDS, {}, ""),
    "singles between": (singles_between, Body(), {}, ""),
    "bursts between": (bursts_between, Body(), {}, ""),
    "metered singles only": (metered_singles, Body(), {}, ""),
    "metered bursts only": (metered_bursts, Body(), {}, ""),
    "time lapse only": (time_lapse, Body(), {}, ""),
    "night": (dim, Body(), {}, ""),
    "one frame missing": (interrupted, Body(), {}, ""),
    "pauses inside": (pauses, Body(), {}, ""),
    "retake in the middle": (retake, Body(), {}, ""),
    "panoramas": (panorama, Body(), {}, ""),
    "hand-held": (hand_held, Body(), {}, ""),
    "slow, long exposures": (slow, _SECONDS, {}, ""),
    "zoomed between": (zooms, Body(), {}, ""),
    "whole seconds": (mixed, _SECONDS, {}, ""),
    "whole seconds, renamed": (mixed, _SECONDS, {}, "rename"),
    "clock stands still": (plain, _SECONDS, {"frozen": True}, ""),
    "clock stands still, renamed": (every_shape, _SECONDS, {"frozen": True}, "rename"),
    "all at one moment": (same_clock, Body(), {}, ""),
    "all at one moment, renamed": (same_clock, Body(), {}, "rename"),
    "no metadata": (plain, Body(exif=False), {}, ""),
    "no metadata, renamed": (hand_held, Body(exif=False), {}, "rename"),
    "counter wraps": (plain, _SECONDS, {"counter": 9950}, ""),
    "counter wraps, no metadata": (plain, Body(exif=False), {"counter": 9950}, ""),
    "RAW and JPEG": (singles_between, Body(), {"raw": "beside"}, ""),
    "two cameras": (mixed, Body(), {}, "two"),
    "two cameras without serials": (plain, Body(serial=None), {}, "two"),
    "mixed": (mixed, Body(), {}, ""),
    "mixed, renamed": (mixed, Body(), {}, "rename"),
}


def make(folder: Path, kind: str, each: int, seed: int) -> Truth:
    """A folder of about ``each`` brackets of one kind, and the truth about it."""
    shoot, body, how, twist = KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    card = Card(folder, rng, body, **how)
    shoot(card, rng, each)
    truth = card.truth
    if twist == "two":
        serial = None if body.serial is None else "9876"
        other = Card(folder, rng, Body(serial=serial, model="Model"), prefix="DSC_", now=card.now)
        other.now -= (card.now - Card(folder, rng, body).now) - timedelta(seconds=0.4)
        shoot(other, rng, each)
        truth = Truth(truth.brackets + other.truth.brackets, truth.singles + other.truth.singles)
    return rename(folder, truth, rng) if twist == "rename" else truth


def rename(folder: Path, truth: Truth, rng: Rng) -> Truth:
    """The same with names that tell nothing."""
    paths = sorted(folder.iterdir())
    numbers = rng.permutation(90_000)[: len(paths)] + 10_000
    names = {p.name: f"p{n}{p.suffix}" for p, n in zip(paths, numbers, strict=True)}
    for path in paths:
        path.rename(folder / names[path.name])
    brackets = [tuple(names[f] for f in b) for b in truth.brackets]
    return Truth(brackets, [names[s] for s in truth.singles])


def real(folder: Path, source: Path, seed: int) -> Truth:
    """Real brackets, one in each sub-folder of ``source``, in one folder under other names."""
    truth = Truth()
    for sub in sorted(p for p in source.iterdir() if p.is_dir()):
        frames = [p for p in sorted(sub.iterdir()) if p.suffix.lower() not in (".json", ".txt")]
        for path in frames:
            shutil.copy(path, folder / f"{sub.name}-{path.name}")
        truth.brackets.append(tuple(f"{sub.name}-{path.name}" for path in frames))
    return rename(folder, truth, np.random.default_rng(seed))


def photographed(folder: Path, source: Path, each: int, seed: int) -> Truth:
    """HDR scenes photographed by `hdrmerge simulate`'s camera: shaken, with movers and faults of
    EXIF, one camera whose clock begins anew for each bracket, in one folder and renamed."""
    from hdrmerge.io import read_exr
    from hdrmerge.simulate import MotionConfig, SimulationConfig, render_bracket
    from hdrmerge.simulate.scenes import panorama_view
    from hdrmerge.simulate.write import write_frame

    rng = np.random.default_rng([seed, 99])
    scenes = sorted(source.glob("*.exr"))
    truth = Truth()
    faults = ("none", "none", "none", "missing", "same-time", "zero", "rounded", "no-f-number")
    for k in range(each):
        hand = float(rng.random() < 0.5)
        stops = tuple(order_of(rng, int(rng.choice((2, 3, 3, 5, 7))), float(rng.choice((1, 2)))))
        config = SimulationConfig(
            stops=stops,
            format=str(rng.choice(("jpg", "jpg", "jpg", "jpg", "png8", "tif16", "dng"))),  # type: ignore[arg-type]
            exif=str(rng.choice(faults)),  # type: ignore[arg-type]
            full_well=float(rng.choice((1500, 6000, 20000))),
            shake_rotation=0.5 * hand,
            shake_shift=4.0 * hand,
            motion=MotionConfig(movers=int(rng.choice((0, 0, 4)))),
            auto_iso_hold=float(rng.choice((0, 0, 0.5))),
            base_time=float(2.0 ** rng.integers(-9, -4)),
            size=(240, 360),
        )
        scene = read_exr(scenes[k % len(scenes)])[0]
        view = panorama_view(scene, (300, 440), 1.0, rng)
        bracket = render_bracket(view, config, np.random.default_rng([seed, k]))
        names = [f"{k}_{m}{frame.path.suffix}" for m, frame in enumerate(bracket.frames)]
        for m, name in enumerate(names):
            write_frame(folder / name, bracket, m)
        truth.brackets.append(tuple(names))
    return rename(folder, truth, rng)


def score(plan: Plan, truth: Truth) -> dict[str, int]:
    """Counts of true brackets by what became of them, and of brackets that are none."""
    planned = {frozenset(b.files): b for b in plan.brackets}
    flagged = {f for b in plan.brackets if b.doubt for f in b.files}
    flagged |= {s.file for s in plan.singles if "part of a bracket" in s.reason}
    counts = dict.fromkeys(("brackets", "right", "right, doubtful", "flagged", "silent"), 0)
    counts["brackets"] = len(truth.brackets)
    known = {frozenset(b) for b in truth.brackets if len(b) > 1}
    for bracket in truth.brackets:
        found = planned.get(frozenset(bracket))
        if found is not None:
            counts["right, doubtful" if found.doubt else "right"] += 1
        elif len(bracket) < 2 or set(bracket) & flagged:
            counts["flagged"] += 1
        else:
            counts["silent"] += 1
    for files, b in planned.items():
        if files not in known and not any(files & k for k in known):
            counts["flagged" if b.doubt else "silent"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    more = [*(["real"] if options.real else []), *(["photographed"] if options.scenes else [])]
    titles = options.only or [*KINDS, *more]
    total: dict[str, int] = {}
    columns = ("brackets", "right", "right, doubtful", "flagged", "silent")
    print(f"{'kind':32}" + "".join(f"{c:>17}" for c in columns) + f"{'s':>8}")
    for title in titles:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.keep / title if options.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            if title == "real":
                truth = real(folder, options.real, options.seed)
            elif title == "photographed":
                truth = photographed(folder, options.scenes, 2 * options.each, options.seed)
            else:
                truth = make(folder, title, options.each, options.seed)
            start = time.process_time()
            counts = score(find_brackets([folder]), truth)
            spent = time.process_time() - start
        for key, value in counts.items():
            total[key] = total.get(key, 0) + value
        print(f"{title:32}" + "".join(f"{counts[c]:17d}" for c in columns) + f"{spent:8.1f}")
    print(f"{'all':32}" + "".join(f"{total[c]:17d}" for c in columns))


if __name__ == "__main__":
    main()
