"""Score merges of simulated brackets against the truth, beside the rows that bound them.

A method is a name: ``default``, ``classic``, ``network`` or ``off`` (ours with that deghosting),
``model:NAME`` (ours with that network), ``single`` (the best single frame), ``plain`` (the
noise-optimal merge blind to motion, with everything else known), ``oracle`` (only samples that
truly show the reference's content, the clipped value where there are none), ``oracle+truth`` (the
truth where there are none), or ``NAME=FOLDER``: results from elsewhere, FOLDER/BRACKET.exr or .hdr.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from hdrmerge import metrics
from hdrmerge.config import Deghost, MergeConfig
from hdrmerge.errors import InputError, UsageError
from hdrmerge.evaluate.vdp import jod, require_vdp
from hdrmerge.frames import FloatArray
from hdrmerge.metrics import Mask, Scores
from hdrmerge.simulate import oracle
from hdrmerge.simulate.bracket import SimulatedBracket
from hdrmerge.simulate.write import read_bracket

BASELINES = ("single", "plain", "oracle", "oracle+truth")
OURS = ("default", "classic", "network", "off")


@dataclass(frozen=True, slots=True)
class Result:
    """One method on one bracket.

    ``frame``: whose geometry fits best. ``regions``: scores of ``all``; ``motion`` (some frame
    differs), split into ``motion, valid`` (some frame shows the reference's content, unclipped)
    and ``motion, lost`` (none does); ``clipped`` (in the reference); ``static``. ``cast``: largest
    over smallest channel scale. ``harm``: share of static pixels worse than the plain merge.
    ``jod``: ColorVideoVDP, NaN where it was not asked for.
    """

    bracket: str
    method: str
    frame: int
    regions: dict[str, Scores]
    cast: float
    harm: float
    seconds: float
    jod: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def find_brackets(folders: Sequence[Path]) -> list[Path]:
    """Folders with a ``scene.json``: each of ``folders`` itself, or those directly inside it."""
    found: list[Path] = []
    for folder in folders:
        if not folder.exists():
            raise InputError(f"{folder} does not exist.", "Check the spelling of the path.")
        inside = [folder] if (folder / "scene.json").is_file() else []
        inside = inside or sorted(path.parent for path in folder.glob("*/scene.json"))
        if not inside:
            raise InputError(
                f"{folder} holds no simulated bracket.", "Make one with `hdrmerge simulate`."
            )
        found += inside
    return found


def check_method(method: str) -> None:
    """Raise UsageError for a method that does not exist, before anything is computed."""
    if method in BASELINES or method in OURS or "=" in method or method.startswith("model:"):
        return
    known = ", ".join((*OURS, *BASELINES))
    raise UsageError(f"There is no method {method!r}.", f"Use {known}, model:NAME or NAME=FOLDER.")


def evaluate(
    brackets: Sequence[Path],
    methods: Sequence[str],
    *,
    vdp: bool = False,
    progress: Callable[[str, float], None] | None = None,
    keep: Callable[[Path, str, FloatArray, FloatArray, Mask], None] | None = None,
) -> list[Result]:
    """Scores of every method on every bracket folder.

    ``vdp`` adds ColorVideoVDP, which takes seconds a picture. ``keep`` is handed each bracket's
    folder, the method, its scale-aligned estimate (1 = the shortest frame's saturation), the truth
    that it fits best and that one's motion mask. Raises InputError for folders that hold no
    bracket and results that are missing, UsageError for methods that do not exist.
    """
    for method in methods:
        check_method(method)
    if vdp:
        require_vdp()
    results = []
    steps, done = len(brackets) * len(methods), 0
    for folder in brackets:
        bracket = read_bracket(folder)
        views = _views(bracket)
        plain = oracle.plain_merge(bracket) * _unit(bracket)
        for method in methods:
            start = time.perf_counter()
            estimates = _estimates(method, bracket, folder)
            seconds = time.perf_counter() - start
            result, aligned, view = _best(folder.name, method, estimates, views, plain, seconds)
            if vdp:
                result = dataclasses.replace(result, jod=jod(aligned, view.truth))
            results.append(result)
            if keep is not None:
                keep(folder, method, aligned, view.truth, view.regions["motion"])
            done += 1
            if progress is not None:
                progress(f"{folder.name}: {method}", done / steps)
    return results


def rate(name: str, method: str, estimates: list[FloatArray], bracket: SimulatedBracket) -> Result:
    """Scores of radiance (H, W, 3) in any scale, made of a bracket in memory, as the reference saw
    it; of several estimates the best one's."""
    plain = oracle.plain_merge(bracket) * _unit(bracket)
    return _best(name, method, estimates, _views(bracket)[:1], plain, float("nan"))[0]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The truth as one frame saw it, 1 = the shortest frame's saturation, and its regions."""

    frame: int
    truth: FloatArray
    regions: dict[str, Mask]
    is_reference: bool


def _unit(bracket: SimulatedBracket) -> np.float32:
    """The factor from radiance (reference's saturation = 1) to H."""
    return np.float32(bracket.exposures.min())


def _views(bracket: SimulatedBracket) -> list[_View]:
    """The reference's view first, then those of frames that saw something else."""
    unit = _unit(bracket)
    order = [bracket.reference, *(k for k in range(len(bracket.stops)) if k != bracket.reference)]
    views: list[_View] = []
    for k in order:
        truth = bracket.truth_of(k) * unit
        if views and np.allclose(truth, views[0].truth, rtol=1e-4, atol=1e-6):
            continue
        motion = _seen_by(bracket.motion, bracket, k)
        regions = {
            "all": np.ones_like(motion),
            "motion": motion,
            "clipped": truth.max(axis=2) >= 0.98 * unit / bracket.exposures[k],
            "static": ~motion,
        }
        some = _seen_by(np.asarray(bracket.valid_for(k).any(axis=0)), bracket, k, share=0.5)
        regions["motion, valid"], regions["motion, lost"] = motion & some, motion & ~some
        views.append(_View(k, truth, regions, k == bracket.reference))
    return views


def _seen_by(mask: Mask, bracket: SimulatedBracket, k: int, share: float = 0.01) -> Mask:
    """A mask of the reference's geometry in frame k's; ``share`` of a pixel makes it so."""
    import cv2

    if np.array_equal(bracket.homographies[k], np.eye(3)):
        return mask
    height, width = mask.shape
    warped = cv2.warpPerspective(mask.astype(np.float32), bracket.homographies[k], (width, height))
    return np.asarray(warped > share)


def _estimates(method: str, bracket: SimulatedBracket, folder: Path) -> list[FloatArray]:
    """Radiance (H, W, 3) by a method, in any scale; several where the best one counts."""
    if method == "single":
        return [oracle.single_frame(bracket, k) for k in range(len(bracket.frames))]
    if method == "plain":
        return [oracle.plain_merge(bracket)]
    if method == "oracle":
        return [oracle.oracle(bracket)]
    if method == "oracle+truth":
        return [oracle.oracle(bracket, "truth")]
    if "=" in method:
        return [_read_result(Path(method.partition("=")[2]), folder.name)]
    from hdrmerge.pipeline import merge_stack

    config = MergeConfig()
    if method.startswith("model:"):
        config = MergeConfig(deghost="network", model=method.removeprefix("model:"))
    elif method != "default":
        config = MergeConfig(deghost=cast(Deghost, method))
    return [merge_stack(bracket.frames, config).radiance.pixels]


def _read_result(folder: Path, name: str) -> FloatArray:
    from hdrmerge.io import read_radiance

    for suffix in (".exr", ".hdr"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return read_radiance(path)[0]
    raise InputError(
        f"{folder} holds no result for {name}.", f"Put {name}.exr or {name}.hdr there."
    )


def _best(
    bracket: str,
    method: str,
    estimates: list[FloatArray],
    views: list[_View],
    plain: FloatArray,
    seconds: float,
) -> tuple[Result, FloatArray, _View]:
    """The scores of the estimate and view that fit best over the whole picture."""
    best: tuple[float, FloatArray, FloatArray, _View] | None = None
    for estimate in estimates:
        for view in views:
            if estimate.shape != view.truth.shape:
                raise InputError(
                    f"{method} has {estimate.shape[1]} x {estimate.shape[0]} pixels for {bracket}, "
                    f"the truth {view.truth.shape[1]} x {view.truth.shape[0]}."
                )
            aligned = metrics.align_scale(estimate, view.truth, view.regions["static"])
            fit = metrics.psnr_mu(aligned, view.truth)
            if best is None or fit > best[0]:
                best = fit, estimate, aligned, view
    assert best is not None
    _, estimate, aligned, view = best
    static = view.regions["static"]
    harm = float("nan")
    if view.is_reference:
        harm = metrics.harm_rate(aligned, plain, view.truth, static)
    result = Result(
        bracket=bracket,
        method=method,
        frame=view.frame,
        regions=metrics.score(aligned, view.truth, view.regions),
        cast=metrics.colour_cast(estimate, view.truth, static),
        harm=harm,
        seconds=seconds,
    )
    return result, aligned, view


def summarise(
    results: Sequence[Result], region: str, metric: str
) -> dict[str, tuple[float, float]]:
    """(mean, worst) of a metric in a region by method, over brackets where it is defined."""
    values: dict[str, list[float]] = {}
    for result in results:
        scores = result.regions.get(region)
        value = float("nan") if scores is None else float(getattr(scores, metric))
        values.setdefault(result.method, [])
        if np.isfinite(value):
            values[result.method].append(value)
    return {
        method: (float(np.mean(v)), float(np.min(v))) if v else (float("nan"), float("nan"))
        for method, v in values.items()
    }
