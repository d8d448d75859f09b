"""Alignment of brackets whose homographies are known, and of those that must be left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrmerge.align import align
from hdrmerge.align_notes import without_lost
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

HEIGHT, WIDTH, MARGIN = 320, 480, 40
Array = np.ndarray


def scene(seed: int = 3) -> Array:
    """Radiance with texture at every scale over 8 stops, MARGIN wider than a frame all round."""
    import cv2

    rng = np.random.default_rng(seed)
    h, w = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    logs = np.zeros((h, w, 3))
    for size, amount in ((4, 1.6), (8, 1.0), (20, 0.7), (50, 0.5), (110, 0.3)):
        noise = rng.normal(0, amount, (size, size * w // h, 3)) * [0.4, 0.4, 0.4]
        noise += rng.normal(0, amount, (size, size * w // h, 1))
        logs += cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC)
    out = 2.0 ** (logs - np.quantile(logs, 0.9)) * 0.8
    for _ in range(60):  # edges
        x, y = rng.integers(0, w), rng.integers(0, h)
        out[y : y + rng.integers(5, 40), x : x + rng.integers(5, 40)] *= rng.uniform(0.3, 2.5)
    return out.astype(np.float32)


def shaken(degrees: float, dx: float, dy: float, perspective: float = 0.0) -> Array:
    """Reference to frame pixels: a turn, a shift, ``perspective`` px at the corners."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    centre = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])
    h = np.array([[c, -s, dx], [s, c, dy], [perspective * 4 / WIDTH**2, 0, 1.0]])
    out = np.linalg.inv(centre) @ h @ centre
    return out / out[2, 2]


def photograph(radiance: Array, homography: Array, stops: float, rng: np.random.Generator) -> Array:
    """sRGB codes of a camera with 3000 electrons of full well and 4 of read noise."""
    import cv2

    to_scene = np.array([[1, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1.0]]) @ np.linalg.inv(homography)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    seen = np.maximum(cv2.warpPerspective(radiance, to_scene, (WIDTH, HEIGHT), flags=flags), 0)
    electrons = rng.poisson(np.minimum(seen * 2.0**stops, 4) * 3000) + rng.normal(0, 4, seen.shape)
    x = np.clip(electrons / 3000, 0, 1)
    codes = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return np.round(codes * 255).astype(np.uint8)


def bracket(
    stops: Sequence[float], homographies: Sequence[Array], reference: int, seed: int = 1
) -> ExposureStack:
    rng = np.random.default_rng(seed)
    radiance = scene()
    codes = [photograph(radiance, h, s, rng) for h, s in zip(homographies, stops, strict=True)]
    return stack_of(codes, stops, reference)


def stack_of(codes: Sequence[Array], stops: Sequence[float], reference: int) -> ExposureStack:
    frames = tuple(
        Frame(c, "display", CaptureSettings(), Path(f"{k}.jpg")) for k, c in enumerate(codes)
    )
    exposures = 2.0 ** (np.asarray(stops, float) - stops[reference])
    identities = np.repeat(np.eye(3)[None], len(codes), axis=0)
    return ExposureStack(frames, exposures, Response.srgb(), reference, identities)


def error(a: Array, b: Array) -> float:
    """Root mean square distance in px between where two homographies put a grid."""
    x, y = np.meshgrid(np.linspace(0, WIDTH - 1, 9), np.linspace(0, HEIGHT - 1, 9))
    p = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    u, v = a @ p, b @ p
    return float(np.sqrt(np.square(u[:2] / u[2] - v[:2] / v[2]).sum(axis=0).mean()))


@pytest.mark.parametrize(
    ("stops", "reference"),
    [((-3, 0, 3), 1), ((-5, 0, 1), 1), ((0, 3), 0), ((-4, -2, 0, 2, 4), 2)],
)
def test_hand_held_to_a_tenth_of_a_pixel(stops: tuple[float, ...], reference: int) -> None:
    shakes = [shaken(0.9, 12, -9, 1.5), shaken(-0.7, -14, 5, -1), shaken(0.5, 6, 13, 2)]
    shakes += [shaken(-1, 4, -3, 1), shaken(0.3, -8, 8, -2)]
    shakes[reference] = np.eye(3)
    homographies, notes = align(bracket(stops, shakes[: len(stops)], reference))
    for k, note in enumerate(notes):
        assert note.kind == ("reference" if k == reference else "homography")
        if abs(stops[k]) < 5:
            assert error(homographies[k], shakes[k]) < 0.1
        else:
            assert error(homographies[k], shakes[k]) < 0.25  # 25 electrons at saturation's place
    np.testing.assert_array_equal(homographies[reference], np.eye(3))


def test_a_tripod_bracket_is_left_exactly_alone() -> None:
    homographies, notes = align(bracket((-3, 0, 3), [np.eye(3)] * 3, 1))
    np.testing.assert_array_equal(homographies, np.repeat(np.eye(3)[None], 3, axis=0))
    assert [n.kind for n in notes] == ["none", "reference", "none"]
    assert "already within" in notes[0].note


@pytest.mark.parametrize("shake", [np.eye(3), shaken(0.8, -11, 7, 1)])
def test_a_large_mover_does_not_drag_the_fit(shake: Array) -> None:
    rng = np.random.default_rng(5)
    radiance, other = scene(), np.roll(scene(8), (30, 60), (0, 1))
    codes = []
    for k, stops in enumerate((-2, 0, 1)):
        now = radiance.copy()
        left = MARGIN + 120 + 25 * k  # 40 % of the picture's width, all of its height
        now[:, left : left + 190] = np.roll(other, 25 * k, axis=1)[:, left : left + 190]
        codes.append(photograph(now, shake if k != 1 else np.eye(3), stops, rng))
    homographies, _ = align(stack_of(codes, (-2, 0, 1), 1))
    for k in (0, 2):
        assert error(homographies[k], shake) < 0.1
        if np.array_equal(shake, np.eye(3)):
            np.testing.assert_array_equal(homographies[k], np.eye(3))


def test_exposures_and_response_need_not_be_known() -> None:
    shake = shaken(0.6, 9, -7, 1)
    stack = bracket((-2, 0, 2), [shake, np.eye(3), shake], 1)
    wrong = stack_of([f.pixels for f in stack.frames], (-0.1, 0, 0.1), 1)
    wrong = ExposureStack(
        wrong.frames, wrong.exposures, Response.gamma(4), wrong.reference, wrong.homographies
    )
    np.testing.assert_array_equal(align(stack)[0], align(wrong)[0])


def test_the_same_twice() -> None:
    stack = bracket((-3, 0, 3), [shaken(0.9, 12, -9), np.eye(3), shaken(-0.4, -5, 7)], 1)
    np.testing.assert_array_equal(align(stack)[0], align(stack)[0])


def test_every_kind_of_code() -> None:
    shake = shaken(0.6, 9, -7, 1)
    stack = bracket((-2, 0, 2), [shake, np.eye(3), shake], 1)
    eight = [f.pixels for f in stack.frames]
    linear = [stack.response.linearise(f, f.pixels) for f in stack.frames]
    raw = [np.round(600 + 15000 * x).astype(np.uint16) for x in linear]
    variants = {
        "uint16": stack_of([c.astype(np.uint16) * 257 for c in eight], (-2, 0, 2), 1).frames,
        "float": tuple(Frame(x, "linear", CaptureSettings(), Path("a.tif")) for x in linear),
        "raw": tuple(
            Frame(x, "linear", CaptureSettings(), Path("a.dng"), black=600, white=15600)
            for x in raw
        ),
    }
    for name, frames in variants.items():
        other = ExposureStack(frames, stack.exposures, stack.response, 1, stack.homographies)
        homographies, _ = align(other)
        assert max(error(homographies[k], shake) for k in (0, 2)) < 0.1, name


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (2, 2), (8, 8), (33, 47), (70, 70)])
def test_tiny_pictures_are_left_alone(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    bright = rng.integers(0, 250, (*shape, 3), dtype=np.uint8)
    homographies, _ = align(stack_of([bright // 2, bright], (-1, 0), 1))
    np.testing.assert_array_equal(homographies, np.repeat(np.eye(3)[None], 2, axis=0))


@pytest.mark.parametrize("what", ["black", "white", "noise", "gradient", "unrelated"])
def test_nothing_to_align_by_means_no_transform(what: str) -> None:
    rng = np.random.default_rng(9)
    ramp = np.repeat(np.linspace(40, 190, WIDTH)[None, :, None], HEIGHT, axis=0)
    noisy = [ramp + rng.normal(0, 4, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    flat = [100 + rng.normal(0, 6, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    pictures = {
        "black": [np.zeros((HEIGHT, WIDTH, 3))] * 2,
        "white": [np.full((HEIGHT, WIDTH, 3), 255.0)] * 2,
        "noise": flat,
        "gradient": [noisy[0] / 2, np.roll(noisy[1], 3, axis=1)],
        "unrelated": [
            photograph(scene(1), np.eye(3), -1, rng).astype(float),
            photograph(scene(2), np.eye(3), 0, rng).astype(float),
        ],
    }[what]
    codes = [np.clip(np.round(p), 0, 255).astype(np.uint8) for p in pictures]
    homographies, notes = align(stack_of(codes, (-1, 0), 1))
    np.testing.assert_array_equal(homographies[0], np.eye(3))
    assert notes[0].kind == "none" and notes[0].note


def test_a_large_frame_is_aligned_on_a_small_picture_of_it() -> None:
    import cv2

    shake = shaken(0.6, 5, -4, 0.5)
    rng = np.random.default_rng(11)
    radiance = scene()
    small = [photograph(radiance, h, s, rng) for h, s in ((shake, -2), (np.eye(3), 0))]
    size = (5 * WIDTH, 5 * HEIGHT)
    large = [cv2.resize(c, size, interpolation=cv2.INTER_CUBIC) for c in small]
    homographies, notes = align(stack_of(large, (-2, 0), 1))
    down = np.array([[0.2, 0, -0.4], [0, 0.2, -0.4], [0, 0, 1]])
    assert error(down @ homographies[0] @ np.linalg.inv(down), shake) < 0.1
    assert notes[0].kind == "homography"


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    align(
        bracket((-2, 0, 2), [np.eye(3)] * 3, 1),
        progress=lambda stage, fraction: told.append(fraction),
    )
    assert told == [0.5, 1.0]


def test_a_frame_whose_own_transform_is_refused_goes_by_its_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The longest frame of many shows little that the reference shows, but much of the next."""
    import hdrmerge.align as module

    truth = [np.eye(3), shaken(0.2, 5, 3), shaken(-0.1, -6, 4)]
    estimate = module._estimate

    def refused(*arguments: Any) -> Any:
        found = estimate(*arguments)
        direct = error(found.homography, truth[2]) < 1  # through the neighbour it is another
        return module._Estimate("none", np.eye(3), 0.02, 5.0) if direct else found

    monkeypatch.setattr(module, "_estimate", refused)
    homographies, notes = align(bracket((0, 2, 4), truth, 0))
    assert "neighbouring" in notes[2].note and "neighbouring" not in notes[1].note
    for found, known in zip(homographies, truth, strict=True):
        assert error(found, known) < 0.15


@pytest.mark.parametrize(
    ("shake", "longest", "kept"),
    [(shaken(0.3, 6, -4), 13, 3), (np.eye(3), 13, 4), (shaken(0.3, 6, -4), 4, 4)],
)
def test_what_a_hand_lost_is_left_out(shake: Array, longest: float, kept: int) -> None:
    """A frame of nothing but white lies nobody knows where; on a tripod it lies where it should."""
    truth = [shake, np.eye(3), np.linalg.inv(shake), shake]
    stops = (-2.0, 0.0, 2.0, longest)
    stack = bracket(stops, truth, 1)
    homographies, notes = align(stack)
    left, told, said = without_lost(stack.with_homographies(homographies), notes)
    assert len(left) == len(told) == kept and left.reference == 1
    assert said == (("3.jpg was left out: it could not be aligned.",) if kept == 3 else ())
    assert [f.path.name for f in left.frames] == [f"{k}.jpg" for k in range(kept)]
    for k in range(3):
        assert error(left.homographies[k], truth[k]) < 0.15


def test_a_short_frame_that_is_lost_stays_for_its_highlights() -> None:
    stack = bracket((-14.0, 0.0, 2.0), [shaken(0.3, 6, -4), np.eye(3), shaken(-0.3, 2, 5)], 1)
    homographies, notes = align(stack)
    assert notes[0].lost
    assert len(without_lost(stack.with_homographies(homographies), notes)[0]) == 3
