"""The simulator: what it renders is what a camera of known properties would have taken."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.errors import UsageError
from hdrmerge.frames import FloatArray
from hdrmerge.response import Response
from hdrmerge.simulate import (
    MotionConfig,
    SimulationConfig,
    camera,
    geometry,
    oracle,
    render_bracket,
)
from hdrmerge.simulate.bracket import placement_scale
from hdrmerge.simulate.motion import smooth_noise
from hdrmerge.simulate.photograph import undo_turn
from hdrmerge.simulate.room import room
from hdrmerge.simulate.scenes import add_detail, panorama_view

CLEAN = {"full_well": 1e7, "read_noise": 0.0, "format": "png16"}


@pytest.fixture(scope="module")
def scene() -> FloatArray:
    rng = np.random.default_rng(0)
    return np.exp(1.5 * smooth_noise(120, 160, 9, rng, 3)).astype(np.float32)


def test_frames_of_a_clean_camera_give_the_scene_back(scene: FloatArray) -> None:
    bracket = render_bracket(scene, SimulationConfig(**CLEAN), np.random.default_rng(1))
    for frame, stop in zip(bracket.frames, (-3.0, 0.0, 3.0), strict=True):
        linear = Response.srgb().linearise(frame, frame.pixels) / np.float32(2.0**stop)
        dark = bracket.truth * 2.0**stop < 0.95
        assert np.allclose(linear[dark], bracket.truth[dark], rtol=0.02, atol=1e-4 / 2.0**stop)


def test_truth_is_the_scene_scaled_so_that_the_chosen_percentile_saturates(
    scene: FloatArray,
) -> None:
    config = SimulationConfig(saturation_percentile=90.0, **CLEAN)
    bracket = render_bracket(scene, config, np.random.default_rng(1))
    ratio = bracket.truth / scene
    assert np.allclose(ratio, ratio[0, 0, 0], rtol=1e-5)
    assert np.mean(bracket.truth.max(axis=2) * 2.0**-3 >= 1.0) == pytest.approx(0.1, abs=0.01)


def test_same_seed_same_bracket_and_another_seed_another(scene: FloatArray) -> None:
    config = SimulationConfig(motion=MotionConfig(3), shake_shift=4.0)
    a, b, c = (render_bracket(scene, config, np.random.default_rng(s)) for s in (5, 5, 6))
    for x, y, z in zip(a.frames, b.frames, c.frames, strict=True):
        assert np.array_equal(x.pixels, y.pixels)
        assert not np.array_equal(x.pixels, z.pixels)
    assert np.array_equal(a.motion, b.motion)


@pytest.mark.parametrize("electrons", [400.0, 4000.0])
def test_noise_has_the_variance_of_photons_and_read_out(electrons: float) -> None:
    flat = np.full((200, 200, 3), 0.4, np.float32)
    values = camera.expose(flat, electrons, 5.0, np.random.default_rng(3))
    variance = 0.4 / electrons + (5.0 / electrons) ** 2
    assert float(values.var()) == pytest.approx(variance, rel=0.03)
    assert float(values.mean()) == pytest.approx(0.4, abs=0.001)


def test_exposure_clips_at_saturation_and_keeps_negative_noise() -> None:
    rng = np.random.default_rng(3)
    assert camera.expose(np.full((9, 9, 3), 3.0, np.float32), 1000, 4, rng).max() == 1.0
    assert camera.expose(np.zeros((99, 99, 3), np.float32), 1000, 4, rng).min() < 0


def test_named_and_sampled_responses_agree() -> None:
    exposure = np.linspace(0, 1, 999, dtype=np.float32)[:, None].repeat(3, 1)[None]
    sampled = camera.forward_table(camera.inverse_curve("scurve", 4096))
    named = camera.develop(exposure, camera.forward_table("scurve"), 16).astype(int)
    other = camera.develop(exposure, sampled, 16).astype(int)
    assert np.abs(named - other).max() < 40  # of 65535
    per_channel = camera.inverse_curve("srgb")
    per_channel[:, 2] = np.linspace(0, 1, len(per_channel))
    blue = camera.develop(exposure, camera.forward_table(per_channel), 16)[..., 2]
    assert np.abs(blue / 65535 - exposure[..., 2]).max() < 1e-3


def test_s_curve_makes_two_stops_look_like_more() -> None:
    """Real cameras' JPEGs decoded as sRGB do the same: 2.2 to 3.1 stops."""
    curve = Response.srgb().curve[:, 0]
    low, high = (
        np.interp(camera._forward("scurve", np.array([x])), np.linspace(0, 1, len(curve)), curve)
        for x in (0.05, 0.2)
    )
    assert 2.1 < np.log2(high[0] / low[0]) < 3.2


@pytest.mark.parametrize("name", ["sepia", "gamma:x", "gamma:0", "scurve:2"])
def test_unknown_response_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="camera response"):
        camera.forward_table(name)


@pytest.mark.parametrize("curve", [[0.0, 0.6, 0.5, 1.0], [0.1, 1.0], [[0.0, 0.0], [1.0, 1.0]]])
def test_curve_that_is_no_response_is_refused(curve: list[float]) -> None:
    with pytest.raises(UsageError, match="response curve"):
        camera.forward_table(np.array(curve))


def test_homographies_map_reference_to_frame_coordinates(scene: FloatArray) -> None:
    import cv2

    config = SimulationConfig(
        shake_rotation=1.0, shake_shift=5.0, shake_perspective=1.0, stops=(0.0, 0.0), **CLEAN
    )
    big = cv2.resize(scene, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).clip(1e-3)
    bracket = render_bracket(big, config, np.random.default_rng(4))
    assert np.array_equal(bracket.homographies[0], np.eye(3))
    height, width = bracket.truth.shape[:2]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (width, height)
    back = cv2.warpPerspective(bracket.truth_of(1), bracket.homographies[1], size, flags=flags)
    inner = np.s_[12:-12, 12:-12]
    error = np.abs(back - bracket.truth)[inner] / bracket.truth[inner]
    still = np.abs(bracket.truth_of(1) - bracket.truth)[inner] / bracket.truth[inner]
    assert np.median(error) < 0.01 < 0.05 < np.median(still)
    assert bracket.valid[1][inner].mean() > 0.9


def test_shake_never_shows_the_border() -> None:
    flat = np.full((140, 180, 3), 0.5, np.float32)
    config = SimulationConfig(shake_rotation=2.0, shake_shift=9.0, shake_perspective=2.0, **CLEAN)
    for seed in range(4):
        bracket = render_bracket(flat, config, np.random.default_rng(seed))
        assert all(np.allclose(c, c[0, 0], rtol=1e-4) for c in bracket.clean)


def test_too_small_a_scene_for_the_shake_is_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        config = SimulationConfig(shake_shift=15.0)
        render_bracket(np.ones((24, 24, 3), np.float32), config, np.random.default_rng(0))


def test_motion_mask_is_where_the_frames_differ(scene: FloatArray) -> None:
    config = SimulationConfig(motion=MotionConfig(4, step=20.0), stops=(-2.0, 0.0, 2.0), **CLEAN)
    bracket = render_bracket(scene, config, np.random.default_rng(8))
    assert 0.01 < bracket.motion.mean() < 0.8
    for k in range(3):
        change = np.abs(bracket.truth_of(k) - bracket.truth).max(axis=2)
        assert change[bracket.same[k]].max() <= 0.021 * bracket.truth.max()
        assert np.allclose(
            bracket.truth_of(k)[~bracket.motion],
            bracket.truth[~bracket.motion],
            rtol=0.05,
            atol=2e-4,
        )
    assert bracket.same[bracket.reference].all()
    assert np.array_equal(bracket.valid_for(bracket.reference), bracket.valid)


def test_moments_may_be_given_as_scenes(scene: FloatArray) -> None:
    other = scene.copy()
    other[40:60, 50:90] *= 3
    bracket = render_bracket(
        [scene, scene, other], SimulationConfig(**CLEAN), np.random.default_rng(0)
    )
    expected = np.zeros(scene.shape[:2], bool)
    expected[40:60, 50:90] = True
    assert np.array_equal(bracket.motion, expected)
    with pytest.raises(UsageError, match="3 frames"):
        render_bracket([scene, other], SimulationConfig(), np.random.default_rng(0))


def test_auto_iso_holds_the_brightness_and_costs_light(scene: FloatArray) -> None:
    config = SimulationConfig(stops=(-2.0, 0.0, 2.0), auto_iso_hold=1.0, **CLEAN)
    bracket = render_bracket(scene, config, np.random.default_rng(0))
    assert bracket.stops == (0.0, 0.0, 0.0)
    settings = [frame.settings for frame in bracket.frames]
    assert [s.iso for s in settings] == [400.0, 100.0, 25.0]
    assert len({round(s.relative_exposure or 0, 9) for s in settings}) == 1
    noisy = SimulationConfig(stops=(-2.0, 2.0), auto_iso_hold=1.0, full_well=800.0, format="png16")
    dim, bright = render_bracket(
        np.full((64, 64, 3), 0.5, np.float32), noisy, np.random.default_rng(0)
    ).frames
    assert dim.pixels.std() > 2 * bright.pixels.std()


def test_exif_faults() -> None:
    flat = np.full((16, 16, 3), 0.5, np.float32)

    def times(fault: str) -> list[float | None]:
        config = SimulationConfig(exif=fault, base_time=1 / 32, **CLEAN)  # type: ignore[arg-type]
        frames = render_bracket(flat, config, np.random.default_rng(0)).frames
        return [frame.settings.exposure_time for frame in frames]

    assert times("none") == [1 / 256, 1 / 32, 1 / 4]
    assert times("rounded") == [1 / 250, 1 / 30, 1 / 4]
    assert times("same-time") == [1 / 256] * 3
    assert times("missing") == [None] * 3
    assert times("zero")[-1] is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_can_be_undone(orientation: int) -> None:
    from hdrmerge.io.encoded import upright

    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(upright(upright(picture, undo_turn(orientation)), orientation), picture)


def test_oracle_beats_the_plain_merge_and_truth_the_oracle(scene: FloatArray) -> None:
    from hdrmerge.metrics import psnr_mu

    config = SimulationConfig(motion=MotionConfig(4), full_well=1500.0)
    bracket = render_bracket(scene, config, np.random.default_rng(8))
    unit = np.float32(bracket.exposures.min())
    rows = [
        psnr_mu(radiance * unit, bracket.truth * unit)
        for radiance in (
            oracle.plain_merge(bracket),
            oracle.oracle(bracket),
            oracle.oracle(bracket, "truth"),
        )
    ]
    assert rows == sorted(rows) and rows[0] + 3 < rows[1]


def test_views_of_a_panorama_have_the_size_asked_for(scene: FloatArray) -> None:
    rng = np.random.default_rng(0)
    for size, zoom in (((60, 80), 1.0), ((200, 90), 1.5), ((50, 60), 0.5), ((300, 400), 1.0)):
        view = panorama_view(scene, size, zoom, rng)
        assert view.shape == (*size, 3) and view.min() >= 0 and np.isfinite(view).all()
    detailed = add_detail(scene, 0.1, rng)
    assert detailed.shape == scene.shape and not np.array_equal(detailed, scene)


def test_the_room_has_a_wide_range_and_somebody_in_it() -> None:
    empty = room(48, 72)
    assert empty.shape == (48, 72, 3) and np.isfinite(empty).all() and empty.min() > 0
    dark, bright = np.percentile(empty.max(axis=2), [1, 99.9])
    assert np.log2(bright / dark) > 10.5
    walked = room(48, 72, phase=0.0)
    changed = np.abs(walked - empty).max(axis=2) > 0.05 * empty.max(axis=2)
    assert 0.02 < changed.mean() < 0.5


def test_a_scene_without_light_is_refused() -> None:
    with pytest.raises(UsageError, match="no light"):
        placement_scale(np.zeros((8, 8, 3), np.float32), 0.0, 99.0)


def test_random_homography_keeps_to_its_limits() -> None:
    for seed in range(20):
        matrix = geometry.random_homography(100, 150, 1.0, 5.0, 1.0, np.random.default_rng(seed))
        corners = np.array([[0, 0, 1], [149, 0, 1], [0, 99, 1], [149, 99, 1]], float)
        moved = corners @ matrix.T
        shift = np.hypot(*(moved[:, :2] / moved[:, 2:] - corners[:, :2]).T)
        assert shift.max() < geometry.shake_margin(100, 150, 1.0, 5.0, 1.0, 0.0) * 2**0.5
