"""Photograph a known scene as a bracket, and keep the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import UsageError
from hdrmerge.frames import FloatArray, Frame, Matrix
from hdrmerge.simulate import camera, geometry
from hdrmerge.simulate.exif import ExifFault, capture_settings
from hdrmerge.simulate.motion import MotionConfig, composite, random_movers
from hdrmerge.simulate.photograph import as_frame, photograph

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SimulationConfig:
    """How a bracket is taken.

    ``stops``: exposure of each frame in stops, in file order, any spacing. ``reference``: index of
    the frame whose geometry and moment the truth has (None: the one nearest 0 stops). The scene is
    scaled so that saturation of frame ``saturation_frame`` (index, None = the shortest) falls on
    ``saturation_percentile`` of its brightest channel; ``scale`` given overrides this (radiance 1
    times scale = exposure of the reference).

    ``response``: see ``camera.forward_table``. ``full_well`` and ``read_noise`` in electrons at the
    base ISO. ``shake_rotation`` degrees, ``shake_shift`` and ``shake_perspective`` pixels: largest
    values of a hand-held frame; ``parallax`` pixels: standard deviation of what no homography
    explains. ``auto_iso_hold``: share of each shutter step that the camera's auto-ISO undoes.
    ``exposure_jitter``: standard deviation in stops of the true exposure about the nominal one.
    ``exif``: what is wrong with the metadata; ``orientation``: how the camera was held, 1..8 (the
    pixels are stored so that readers turn them upright; RAW ignores it). ``size``: (height, width)
    of the upright frames (None: as much of the scene as shake allows). ``raw_white_balance``:
    gains that make the RAW sensor's white neutral.
    """

    stops: tuple[float, ...] = (-3.0, 0.0, 3.0)
    reference: int | None = None
    saturation_frame: int | None = None
    saturation_percentile: float = 99.9
    scale: float | None = None
    response: camera.ResponseLike = "srgb"
    full_well: float = 6000.0
    read_noise: float = 4.0
    format: camera.FileFormat = "jpg"
    jpeg_quality: int = 95
    chroma: camera.Chroma = "420"
    shake_rotation: float = 0.0
    shake_shift: float = 0.0
    shake_perspective: float = 0.0
    parallax: float = 0.0
    motion: MotionConfig = field(default_factory=MotionConfig)
    auto_iso_hold: float = 0.0
    exposure_jitter: float = 0.0
    exif: ExifFault = "none"
    base_time: float = 1 / 60
    f_number: float | None = 8.0
    iso: float | None = 100.0
    size: tuple[int, int] | None = None
    orientation: int = 1
    raw_white_balance: tuple[float, float, float] = (2.0, 1.0, 1.6)

    def __post_init__(self) -> None:
        if not self.stops:
            raise UsageError("A bracket needs at least one exposure.")
        if self.full_well <= 0 or self.read_noise < 0:
            raise UsageError("full_well must be positive and read_noise not negative.")
        if self.orientation not in range(1, 9):
            raise UsageError(f"There is no orientation {self.orientation}; EXIF has 1 to 8.")
        for index in (self.reference, self.saturation_frame):
            if index is not None and not 0 <= index < len(self.stops):
                raise UsageError(f"There is no frame {index} among {len(self.stops)}.")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedBracket:
    """Frames of a known scene and the truth about them; masks are in the reference's geometry.

    ``frames``: as a reader would return them (codes after compression). ``files``: the encoded
    JPEG of each frame (None for other formats), ``cfa``: the mosaic codes (H, W) of DNG frames.
    ``stops``: true exposure relative to the reference. ``truth`` (H, W, 3): linear Rec.709
    radiance of the reference's geometry and moment, 1 = saturation of the reference.
    ``homographies`` (N, 3, 3): reference to frame coordinates. ``clean``: linear exposure
    (H, W, 3) of each frame in its own geometry, before noise and clipping. ``moments``: radiance
    (H, W, 3) of each frame's moment in the reference's geometry. ``same`` (N, H, W):
    the frame's content equals the reference's. ``clipped`` (N, H, W): a channel saturates.
    ``valid`` = same, seen by the frame, and unclipped. ``motion`` (H, W): some frame's content
    differs.
    """

    config: SimulationConfig
    frames: tuple[Frame, ...]
    files: tuple[bytes | None, ...]
    cfa: tuple[NDArray[np.uint16] | None, ...]
    stops: tuple[float, ...]
    reference: int
    truth: FloatArray
    homographies: Matrix
    clean: tuple[FloatArray, ...]
    moments: tuple[FloatArray, ...]
    same: Mask
    clipped: Mask
    valid: Mask
    motion: Mask

    @property
    def exposures(self) -> NDArray[np.float64]:
        """(N,) true exposures relative to the reference."""
        return 2.0 ** np.asarray(self.stops)

    def truth_of(self, k: int) -> FloatArray:
        """Radiance (H, W, 3) that frame k saw: its geometry and moment, the truth's scale."""
        return np.asarray(self.clean[k] / np.float32(self.exposures[k]), dtype=np.float32)

    def valid_for(self, k: int) -> Mask:
        """(N, H, W): where each frame shows what frame k shows, seen and unclipped."""
        same = np.stack([~differs(moment, self.moments[k]) for moment in self.moments])
        seen = np.stack([geometry.inside(h, same.shape[1:]) for h in self.homographies])
        return np.asarray(same & seen & ~self.clipped)


def differs(a: FloatArray, b: FloatArray) -> Mask:
    """Where two radiance maps (H, W, 3) show different things: by more than 2 % in a channel."""
    if a is b:
        return np.zeros(a.shape[:2], np.bool_)
    return np.asarray((np.abs(a - b) > 0.02 * np.maximum(a, b) + 1e-4).any(axis=2))


def placement_scale(scene: FloatArray, stop: float, percentile: float) -> float:
    """The factor that puts saturation of a frame ``stop`` above the reference on a percentile."""
    level = float(np.percentile(scene[::2, ::2].max(axis=2), percentile))
    if not np.isfinite(level) or level <= 0:
        raise UsageError("The scene has no light to expose for.")
    return float(2.0**-stop / level)


def render_bracket(
    scene: FloatArray | Sequence[FloatArray],
    config: SimulationConfig,
    rng: np.random.Generator,
    *,
    sources: Sequence[FloatArray] = (),
) -> SimulatedBracket:
    """Render a bracket of ``scene`` (H, W, 3), linear radiance >= 0, or of one such a frame.

    Several scenes are the moments of the frames, for things that move in them already.
    ``sources``: scenes that moving objects are cut from (the scene itself where none is given).
    The same scene, config and generator state give the same bracket bit for bit. Raises
    UsageError where the scene is too small or dark.
    """
    count = len(config.stops)
    reference = config.reference
    if reference is None:
        reference = int(np.argmin(np.abs(config.stops)))
    scenes = [scene] * count if isinstance(scene, np.ndarray) else list(scene)
    if len(scenes) != count or len({s.shape for s in scenes}) != 1:
        raise UsageError(f"{count} frames need one scene, or {count} of the same size.")
    size, origin = _framing(scenes[reference], config)
    (height, width), (x0, y0) = size, origin
    iso_stops = tuple(-config.auto_iso_hold * s for s in config.stops)
    nominal = np.asarray(config.stops) + np.asarray(iso_stops)
    actual = nominal + config.exposure_jitter * rng.standard_normal(count)
    stops = actual - actual[reference]

    shortest = int(np.argmin(stops))
    chosen = shortest if config.saturation_frame is None else config.saturation_frame
    view = scenes[reference][y0 : y0 + height, x0 : x0 + width]
    scale = config.scale
    if scale is None:
        scale = placement_scale(view, float(stops[chosen]), config.saturation_percentile)
    # Nothing can tell light beyond 64 times the shortest frame's saturation apart.
    ceiling = np.float32(64.0 * 2.0 ** -stops[shortest])
    distinct = {id(s): np.minimum(s * np.float32(scale), ceiling) for s in scenes}
    scaled = [distinct[id(s)] for s in scenes]

    movers = random_movers(
        scaled[reference],
        (x0, y0, width, height),
        count,
        reference,
        config.motion,
        sources or (scenes[reference],),
        rng,
    )
    base = composite(scaled[reference], movers, reference)
    crop = (slice(y0, y0 + height), slice(x0, x0 + width))
    truth = np.ascontiguousarray(base[crop])

    table = camera.forward_table(config.response)
    gains = config.raw_white_balance if config.format == "dng" else (1.0, 1.0, 1.0)
    sensor = np.array(gains, np.float32)  # exposure at which each channel saturates
    shape = (count, height, width)
    same, clipped, seen = np.ones(shape, bool), np.zeros(shape, bool), np.ones(shape, bool)
    homographies = np.repeat(np.eye(3)[None], count, axis=0)
    frames, files, cfas, cleans, moments = [], [], [], [], []
    for k in range(count):
        content = base if k == reference else composite(scaled[k], movers, k)
        moment = truth if content is base else np.ascontiguousarray(content[crop])
        same[k] = ~differs(moment, truth)
        moments.append(moment)
        exposure = np.float32(2.0 ** stops[k])
        clipped[k] = (moment * (exposure / sensor)).max(axis=2) >= 0.98
        bend = None
        if k != reference and config.parallax > 0:
            bend = geometry.parallax_field(height, width, config.parallax, rng)
        if k != reference and _shaken(config):
            homographies[k] = geometry.random_homography(
                height,
                width,
                config.shake_rotation,
                config.shake_shift,
                config.shake_perspective,
                rng,
            )
            seen[k] = geometry.inside(homographies[k], size)
        clean = geometry.sample_scene(content, origin, size, homographies[k], bend) * exposure
        well = config.full_well * 2.0 ** -iso_stops[k]
        codes, data, cfa = photograph(clean, well, table, config, rng)
        settings = capture_settings(
            config.exif, k, config.stops, iso_stops, config.base_time, config.f_number, config.iso
        )
        frames.append(as_frame(codes, settings, k, config))
        files.append(data)
        cfas.append(cfa)
        cleans.append(clean)
    return SimulatedBracket(
        config=config,
        frames=tuple(frames),
        files=tuple(files),
        cfa=tuple(cfas),
        stops=tuple(float(s) for s in stops),
        reference=reference,
        truth=truth,
        homographies=homographies,
        clean=tuple(cleans),
        moments=tuple(moments),
        same=same,
        clipped=clipped,
        valid=same & seen & ~clipped,
        motion=np.asarray(~same.all(axis=0)),
    )


def _shaken(config: SimulationConfig) -> bool:
    return config.shake_rotation > 0 or config.shake_shift > 0 or config.shake_perspective > 0


def _framing(
    scene: FloatArray, config: SimulationConfig
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The frames' size (h, w) and where the reference's corner (x, y) lies in the scene."""
    if scene.ndim != 3 or scene.shape[2] != 3:
        raise UsageError(f"A scene is (H, W, 3), not {scene.shape}.")
    height, width = config.size or scene.shape[:2]
    margin = geometry.shake_margin(
        height,
        width,
        config.shake_rotation,
        config.shake_shift,
        config.shake_perspective,
        config.parallax,
    )
    if config.size is None:
        height, width = height - 2 * margin, width - 2 * margin
    y0, x0 = (scene.shape[0] - height) // 2, (scene.shape[1] - width) // 2
    if height < 8 or width < 8 or y0 < 0 or x0 < 0:
        raise UsageError(
            f"The scene ({scene.shape[1]} x {scene.shape[0]}) is too small for such frames.",
            f"Shake needs {margin} pixels of scene on every side.",
        )
    return (height, width), (x0, y0)
