"""Order, provisional exposures and the reference of a bracket that nobody has aligned yet."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from hdrmerge.config import MergeConfig
from hdrmerge.errors import StackError, UsageError
from hdrmerge.exposure import exif_exposures, initial_stack
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.reference import choose_reference
from hdrmerge.response import Response


def scene(top: float = 6.0, height: int = 60, width: int = 90) -> np.ndarray:
    """Radiance of ``top`` stops above and six below 1, evenly spread."""
    rng = np.random.default_rng(2)
    return np.exp2(rng.uniform(-6, top, (height, width, 1))) * np.ones(3)


def frame(
    stops: float, name: str, *, top: float = 2.0, settings: CaptureSettings | None = None
) -> Frame:
    linear = np.clip(scene(top) * 2.0**stops, 0, 1)
    codes = Response.srgb().encode(linear.astype(np.float32))
    if settings is None:
        settings = CaptureSettings(exposure_time=2.0**stops / 50, f_number=4.0, iso=100.0)
    return Frame(np.round(codes * 255).astype(np.uint8), "display", settings, Path(name))


def stops_of(frames: list[Frame], config: MergeConfig | None = None) -> list[float]:
    stack, _ = initial_stack(frames, config or MergeConfig(reference=0))
    return [float(s) for s in np.log2(stack.exposures / stack.exposures[0])]


def test_the_order_of_the_files_changes_nothing() -> None:
    frames = [frame(s, f"{s}.jpg") for s in (-3.0, 0.0, 3.0)]
    first = None
    for order in permutations(range(3)):
        stack, index = initial_stack([frames[k] for k in order], MergeConfig())
        assert [order[i] for i in index] == [0, 1, 2]
        facts = (stack.exposures.tolist(), stack.reference, [f.path for f in stack.frames])
        first = first or facts
        assert facts == first


def test_equal_frames_are_ordered_too() -> None:
    frames = [frame(0.0, name) for name in ("b.jpg", "a.jpg", "c.jpg")]
    stack, _ = initial_stack(frames, MergeConfig())
    assert [f.path.name for f in stack.frames] == ["a.jpg", "b.jpg", "c.jpg"]


def test_exif_counts_iso_and_aperture() -> None:
    settings = [CaptureSettings(0.01, 8.0, 100.0), CaptureSettings(0.01, 4.0, 200.0)]
    frames = [frame(3.0 * k, f"{k}.jpg", settings=s) for k, s in enumerate(settings)]
    assert stops_of(frames) == pytest.approx([0, 3])


def test_half_a_truth_in_exif_is_no_truth() -> None:
    settings = [CaptureSettings(0.01, 8.0, None), CaptureSettings(0.04, None, 400.0)]
    frames = [frame(2.0 * k, f"{k}.jpg", settings=s) for k, s in enumerate(settings)]
    exif = exif_exposures(frames)
    assert exif[0] is not None and exif[1] is not None
    assert exif[1] / exif[0] == pytest.approx(4)


@pytest.mark.parametrize(
    "settings",
    [
        [CaptureSettings()] * 3,
        [CaptureSettings(0.02)] * 3,
        [CaptureSettings(0.02), CaptureSettings(), CaptureSettings(0.08)],
        [CaptureSettings(0.08), CaptureSettings(0.02), CaptureSettings(0.005)],
    ],
    ids=["none", "all the same", "one missing", "backwards"],
)
def test_without_usable_exif_brightness_orders(settings: list[CaptureSettings]) -> None:
    frames = [frame(2.0 * k, f"{k}.jpg", settings=s) for k, s in enumerate(settings)]
    assert stops_of(frames[::-1], MergeConfig()) == pytest.approx([0, 2, 4], abs=0.3)


def test_options_override() -> None:
    frames = [frame(2.0 * k, f"{k}.jpg") for k in range(3)]
    assert stops_of(frames, MergeConfig(ev=(0, 1, 3))) == pytest.approx([0, 1, 3])
    assert stops_of(frames, MergeConfig(times=(1.0, 4.0, 8.0))) == pytest.approx([0, 2, 3])
    stack, order = initial_stack(frames[::-1], MergeConfig(reference=0))
    assert stack.frames[stack.reference] is frames[2] and order == (2, 1, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"ev": (0.0, 1.0)},
        {"times": (1.0, 0.0, 2.0)},
        {"ev": (0.0, float("nan"), 1.0)},
        {"reference": 3},
        {"response": "kodak"},
    ],
)
def test_options_that_do_not_fit(options: dict[str, object]) -> None:
    frames = [frame(2.0 * k, f"{k}.jpg") for k in range(3)]
    with pytest.raises(UsageError):
        initial_stack(frames, MergeConfig(**options))  # type: ignore[arg-type]


def test_frames_that_make_no_bracket() -> None:
    with pytest.raises(StackError):
        initial_stack([frame(0.0, "a.jpg")], MergeConfig())
    small = Frame(np.zeros((8, 8, 3), np.uint8), "display", CaptureSettings(), Path("small.jpg"))
    with pytest.raises(StackError, match=r"small\.jpg"):
        initial_stack([frame(0.0, "a.jpg"), frame(1.0, "b.jpg"), small], MergeConfig())


@pytest.mark.parametrize("value", [0, 255, 7])
def test_flat_frames_do_not_crash(value: int) -> None:
    pixels = np.full((16, 16, 3), value, np.uint8)
    frames = [Frame(pixels, "display", CaptureSettings(), Path(f"{k}.jpg")) for k in range(3)]
    stack, _ = initial_stack(frames, MergeConfig())
    assert np.isfinite(stack.exposures).all()


def test_the_profile_promises_the_first_response() -> None:
    frames = [frame(2.0 * k, f"{k}.jpg") for k in range(2)]
    for one in frames:
        object.__setattr__(one, "transfer", "gamma:1.8")
    stack, _ = initial_stack(frames, MergeConfig())
    assert stack.response.name == "gamma 1.8"


@pytest.mark.parametrize(
    ("stops", "top", "expected"),
    [
        ((-3.0, 0.0, 3.0), 1.0, 1),
        ((0.0, 3.0), -0.1, 0),
        ((-5.0, 0.0, 1.0), 0.5, 1),
        ((-4.0, -2.0, 0.0, 2.0, 4.0), -0.3, 2),
        ((0.0, 0.0, 0.0), 0.0, 1),
    ],
)
def test_the_best_exposed_frame_is_the_reference(
    stops: tuple[float, ...], top: float, expected: int
) -> None:
    frames = [frame(s, f"{s}.jpg", top=top) for s in stops]
    assert choose_reference(frames, np.exp2(np.array(stops)), Response.srgb()) == expected


def test_a_reference_between_the_others_can_be_asked_for() -> None:
    frames = [frame(s, f"{s}.jpg", top=-0.1) for s in (0.0, 2.0, 4.0)]
    exposures = np.exp2(np.array([0.0, 2.0, 4.0]))
    assert choose_reference(frames, exposures, Response.srgb()) == 0
    assert choose_reference(frames, exposures, Response.srgb(), between=True) == 1
    two = choose_reference(frames[:2], exposures[:2], Response.srgb(), between=True)
    assert two == choose_reference(frames[:2], exposures[:2], Response.srgb())
