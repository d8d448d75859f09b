"""Homography of each frame to the reference frame: never worse than unaligned, and said how.

Features give a start under any exposure, pixels give the last hundredths (``align_refine``), and
tiles held out of the fit decide whether it may be used at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from hdrmerge.align_features import Features, find_features, match_features
from hdrmerge.align_geometry import displacements, is_plausible, restrict, scaling
from hdrmerge.align_notes import AlignmentNote, Kind
from hdrmerge.align_refine import Model, Pair, Proxy, Tiles, match_tones, solve
from hdrmerge.frames import Frame, Matrix
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads

PROXY_PIXELS = 2_000_000
_FEATURE_PIXELS = 800_000  # of a proxy beyond which features are sought at half its size
STILL = 0.15  # px: a smaller displacement is not worth interpolating a frame for
_SURE = 1.0  # proxy px of standard deviation, where the frame is used, that a model may have
_GOOD = 0.1  # proxy px up to which no way round through a neighbouring exposure need be tried
_SIGNIFICANT = 3.0  # standard errors by which a frame must move, and held-out tiles prefer that
_VOTE = 0.05  # loss a usable pixel, of at most 1, with which a tile clearly prefers a transform
_DISSENT = 0.4  # of what tiles gain by a transform, that others may lose
_TRIPOD = 0.1  # the same, where another frame of the bracket has not moved at all
_SAME = 2.0  # px within which two starts lead to the same end
_SMALLEST = 24  # px of the coarsest level's shorter side
_STEPS = 3  # Gauss-Newton steps a level at most
_SETTLED = 0.005  # px: a step this small is the last
_MODELS: tuple[Model, ...] = ("homography", "affine", "translation")


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A frame as alignment sees it: proxies, each half the size of the one before, features."""

    levels: tuple[Proxy, ...]
    features: Features

    @property
    def shape(self) -> tuple[int, ...]:
        return self.levels[0].codes.shape


@dataclass(frozen=True, slots=True, eq=False)
class _Estimate:
    """``homography`` from the reference, in proxy px, with its largest standard ``deviation``
    (inf where nothing is known) and ``displacement``; kind "none" says that it is not used."""

    kind: Kind
    homography: Matrix
    deviation: float = np.inf
    displacement: float = 0.0
    dissent: float = 0.0
    chained: bool = False

    def refused(self, still: float) -> bool:
        """Whether the frame seems to have moved, but what was found was not good enough."""
        return self.kind == "none" and _moves(self.displacement, self.deviation, still)


def align(
    stack: ExposureStack, *, progress: Callable[[str, float], None] | None = None
) -> tuple[Matrix, tuple[AlignmentNote, ...]]:
    """Homographies (N, 3, 3) from reference to frame pixels, and a note for each frame.

    A frame that lies within 0.15 px of the reference, or that nothing sure can be said about, gets
    exactly the identity, so that no interpolation blurs it. Exposures and response are not used.
    """
    count, reference = len(stack), stack.reference
    height, width = stack.shape
    factor = max(1, int(np.ceil((height * width / PROXY_PIXELS) ** 0.5)))
    still = STILL / factor
    outwards = sorted((k for k in range(count) if k != reference), key=lambda k: abs(k - reference))
    found = {reference: _Estimate("reference", np.eye(3), 0.0)}
    with ThreadPoolExecutor(threads()) as pool:
        views = list(pool.map(lambda frame: _view(frame, factor), stack.frames))
        direct = pool.map(
            lambda k: _estimate(views[reference], views[k], np.eye(3), still), outwards
        )
        for done, (k, estimate) in enumerate(zip(outwards, direct, strict=True), 1):
            inner = k + 1 if k < reference else k - 1
            doubtful = estimate.refused(still)
            if (doubtful or estimate.deviation > _GOOD) and inner != reference:
                chained = _chain(views[inner], views[k], found[inner], still)
                sure = chained.deviation < (_GOOD if doubtful else estimate.deviation)
                if chained.kind != "none" and sure:
                    estimate = chained
            found[k] = estimate
            if progress is not None:
                progress("align", done / len(outwards))
    stays = [e.displacement <= still and e.deviation <= _GOOD for e in found.values()]
    if sum(stays) > 1:  # the reference, and another
        for k, e in found.items():
            if e.dissent > _TRIPOD:
                found[k] = replace(e, kind="none")
    notes = tuple(_note(found[k], factor) for k in range(count))
    to_proxy = scaling(1 / factor)
    homographies = np.repeat(np.eye(3)[None], count, axis=0)
    for k, note in enumerate(notes):
        if note.kind not in ("none", "reference"):
            h = np.linalg.inv(to_proxy) @ found[k].homography @ to_proxy
            homographies[k] = h / h[2, 2]
    return homographies, notes


def _note(estimate: _Estimate, factor: int) -> AlignmentNote:
    moved, deviation = factor * estimate.displacement, factor * estimate.deviation
    if estimate.kind == "reference":
        return AlignmentNote("reference", "")
    if estimate.kind != "none":
        way = ", through the neighbouring exposure" if estimate.chained else ""
        known = f"moved by up to {moved:.1f} px, known to {deviation:.2f} px{way}"
        return AlignmentNote(estimate.kind, known, moved)
    if not np.isfinite(deviation):
        little = "too little in common with the reference to align by"
        return AlignmentNote("none", little, lost=True)
    if moved <= max(STILL, _SIGNIFICANT * deviation):
        return AlignmentNote("none", f"already within {max(moved, 0.01):.2f} px of the reference")
    if estimate.dissent > 0:
        return AlignmentNote("none", "left like the others: what seems to move is an object")
    return AlignmentNote("none", "no transform fits better than none", lost=True)


def _view(frame: Frame, factor: int) -> _View:
    levels = [_proxy(frame, factor)]
    while min(levels[-1].codes.shape) >= 2 * _SMALLEST:
        levels.append(levels[-1].half())
    level = int(levels[0].codes.size > _FEATURE_PIXELS and len(levels) > 1)
    return _View(tuple(levels), find_features(levels[level], 2.0**level))


def _proxy(frame: Frame, factor: int) -> Proxy:
    """The frame's luma reduced by a whole factor, display-encoded and rounded to 8 bit."""
    import cv2

    pixels = frame.reduced(factor)
    if pixels.dtype != np.uint8:
        values = np.clip(frame.fraction(pixels), 0, 1)
        if frame.encoding == "linear":
            values = np.sqrt(values)
        pixels = np.round(values * 255).astype(np.uint8)
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    red, green, blue = cv2.split(pixels)
    usable = (cv2.max(cv2.max(red, green), blue) < 250) & (luma > 3)
    return Proxy(luma, usable.astype(np.uint8) * np.uint8(255))


def _estimate(reference: _View, frame: _View, unaligned: Matrix, still: float) -> _Estimate:
    """The richest model that is sure and that held-out tiles prefer to ``unaligned``."""
    counts = [
        np.bincount(view.levels[0].codes[::3, ::3].ravel(), minlength=256)
        for view in (frame, reference)
    ]
    tones = match_tones(counts[0], counts[1])
    starts = match_features(reference.features, frame.features, tones)
    starts += [_search(reference, frame, unaligned), unaligned]
    starts = _distinct([h for h in starts if is_plausible(h, reference.shape)], reference.shape)
    nothing = _Estimate("none", unaligned)
    for model in _MODELS:
        options = [restrict(h, model, reference.shape) for h in starts]
        start = _best(reference, frame, options, model)
        homography, pair = _refine(reference, frame, start, model)
        if not pair.seen.any():
            continue
        tiles = pair.tiles(homography)
        step = solve(tiles, model, pair.shape, signal=pair.signal(homography))
        deviation = float(step.deviation(tiles.centres[pair.seen], pair.shape).max())
        if not deviation <= _SURE:
            continue
        moved = float(displacements(homography, unaligned, pair.shape).max())
        if _moves(moved, deviation, still):
            dissent = _dissent(pair, tiles, homography, model, unaligned, frame.levels[0])
            if dissent < _DISSENT:
                return _Estimate(model, homography, deviation, moved, dissent)
        if deviation < nothing.deviation:
            nothing = _Estimate("none", unaligned, deviation, moved)
        if moved <= still:
            break
    return nothing


def _moves(displacement: float, deviation: float, still: float) -> bool:
    return displacement > max(still, _SIGNIFICANT * deviation)


def _chain(inner: _View, frame: _View, via: _Estimate, still: float) -> _Estimate:
    """A frame aligned to its neighbour, to which ``via`` leads from the reference."""
    unaligned = np.asarray(np.linalg.inv(via.homography), np.float64)
    step = _estimate(inner, frame, unaligned, still)
    homography = step.homography @ via.homography
    moved = float(displacements(homography, np.eye(3), inner.shape).max())
    deviation = float(np.hypot(step.deviation, via.deviation))
    return _Estimate(step.kind, homography, deviation, moved, step.dissent, chained=True)


def _distinct(options: Sequence[Matrix], shape: tuple[int, ...]) -> list[Matrix]:
    """The options without those that Gauss-Newton would bring to the same place as an earlier."""
    kept: list[Matrix] = []
    for h in options:
        if all(displacements(h, other, shape).max() > _SAME for other in kept):
            kept.append(h)
    return kept


def _search(reference: _View, frame: _View, start: Matrix) -> Matrix:
    """From coarse to fine without features: the way where there are none."""
    h = start
    for level in range(len(reference.levels) - 1, 1, -1):
        coarsest = level == len(reference.levels) - 1
        shifts: tuple[Model, ...] = ("translation",) * 5 if coarsest else ()
        scale = scaling(0.5**level)
        h = scale @ h @ np.linalg.inv(scale)
        pair = Pair(reference.levels[level], frame.levels[level], h)
        for model in (*shifts, "affine", "affine"):
            h, _ = _descend(pair, h, model)
        h = np.linalg.inv(scale) @ h @ scale
    return h


def _best(reference: _View, frame: _View, options: Sequence[Matrix], model: Model) -> Matrix:
    """The option that most of the picture agrees with, refined and judged at half resolution.

    All are measured by the noise of the one whose residuals are smallest, over the pixels that
    every one of them can use. A tile that fits worse than it could counts once, however much
    worse: a moving object full of contrast has no more to say than a plain wall of its size.
    """
    if len(options) == 1:
        return options[0]
    level = min(1, len(reference.levels) - 1)
    scale = scaling(0.5**level)
    scaled = [scale @ h @ np.linalg.inv(scale) for h in options]
    pairs = [Pair(reference.levels[level], frame.levels[level], h) for h in scaled]
    for _ in range(2):
        scaled = [_descend(pair, h, model)[0] for pair, h in zip(pairs, scaled, strict=True)]
    noise = [pair.measure_noise(h) for pair, h in zip(pairs, scaled, strict=True)]
    common = np.minimum.reduce([pair.usable for pair in pairs])
    for pair in pairs:
        pair.precision = pairs[int(np.argmin(noise))].precision
    costs = np.array([pair.cost(h, common) for pair, h in zip(pairs, scaled, strict=True)])
    votes = np.minimum(costs - costs.min(axis=0), _VOTE * pairs[0].total(common))
    best = scaled[int(np.argmin(votes.sum(axis=1)))]
    return np.asarray(np.linalg.inv(scale) @ best @ scale)


def _refine(reference: _View, frame: _View, start: Matrix, model: Model) -> tuple[Matrix, Pair]:
    """Gauss-Newton at half and then full proxy resolution; the pair at the latter."""
    h = start
    for level in range(min(1, len(reference.levels) - 1), -1, -1):
        scale = scaling(0.5**level)
        h = scale @ h @ np.linalg.inv(scale)
        pair = Pair(reference.levels[level], frame.levels[level], h)
        for _ in range(_STEPS):
            h, moved = _descend(pair, h, model)
            if moved < _SETTLED:
                break
        h = np.linalg.inv(scale) @ h @ scale
    pair.measure_noise(h)
    return h / h[2, 2], pair


def _descend(pair: Pair, homography: Matrix, model: Model) -> tuple[Matrix, float]:
    """One Gauss-Newton step and how far it moved the picture, in px; none where it is absurd."""
    pair.measure_noise(homography)
    step = solve(pair.tiles(homography), model, pair.shape).matrix(pair.shape)
    if not is_plausible(homography @ step, pair.shape):
        return homography, 0.0
    return homography @ step, float(displacements(step, np.eye(3), pair.shape).max())


def _dissent(
    pair: Pair, tiles: Tiles, homography: Matrix, model: Model, unaligned: Matrix, frame: Proxy
) -> float:
    """What tiles that had no part in a fit lose by it against the unaligned frame, over what
    others gain; inf where the gain is not significant.

    Squares of tiles form a checkerboard; each colour is judged by the other colour's fit. As in
    ``_best``, a tile's say is bounded. When a hand shook, nearly all gain; before a tripod, an
    object that moves gains what everything else loses.
    """
    where = pair.usable & pair.usable_at(frame, unaligned)
    before = pair.cost(unaligned, where)
    gain = np.zeros_like(before)
    black = pair.checkerboard()
    for held in (black, ~black):
        step = solve(tiles, model, pair.shape, ~held)
        after = pair.cost(homography @ step.matrix(pair.shape), where)
        gain[held] = (before - after)[held]
    most = _VOTE * pair.total(where)
    gain = np.clip(gain, -most, most)
    if not gain.sum() > _SIGNIFICANT * np.sqrt(np.square(gain).sum()):
        return np.inf
    return float(-gain[gain < 0].sum() / gain[gain > 0].sum())
