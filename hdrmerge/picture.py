"""Radiance to a picture file: tone-mapped for ordinary screens, or as bright as it is for HDR ones.

The suffix names the format. JPEG, PNG and TIFF are ordinary pictures; with ``hdr`` a JPEG gets a
gain map, and a PNG becomes PQ; AVIF and JPEG XL are always for HDR screens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hdrmerge.config import TonemapConfig
from hdrmerge.errors import UsageError

if TYPE_CHECKING:
    from hdrmerge.frames import CaptureSettings, Codes, FloatArray, HalfArray

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".avif", ".jxl")
# suffix -> bits a value that ordinary and HDR pictures may have, the default first
_SDR_BITS = {".jpg": (8,), ".jpeg": (8,), ".png": (8, 16), ".tif": (8, 16), ".tiff": (8, 16)}
_HDR_BITS = {".jpg": (8,), ".jpeg": (8,), ".png": (16,), ".avif": (10, 12), ".jxl": (16,)}
_NAMES = {".jpg": "JPEG", ".tif": "TIFF", ".jxl": "JPEG XL"}
_MIDDLE = (0.05, 0.5)  # display luminance of what counts as the middle of a picture
_SAMPLES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFormat:
    """How a picture is written.

    ``depth``: bits a value; None: what is usual for the format. ``quality``: 1 to 100, of what is
    not lossless. ``dither``: of 8 bits. For HDR screens: ``diffuse_white`` is the radiance that is
    shown at 203 cd/m2, as a white sheet (None: such that the middle is as bright as in the
    tone-mapped picture); what would exceed ``peak`` cd/m2 is clipped; ``gain_map``: exact or small.
    """

    hdr: bool = False
    depth: int | None = None
    quality: int | None = None
    dither: bool = True
    diffuse_white: float | None = None
    peak: float = 1000.0
    gain_map: Literal["exact", "small"] = "exact"

    def bits(self, path: Path) -> int:
        """Bits a value of a picture of this name.

        Raises UsageError for what the format cannot hold, or needs a package that is absent.
        """
        suffix = path.suffix.lower()
        known = _HDR_BITS if self.is_hdr(path) else _SDR_BITS
        if suffix not in known:
            if suffix in _SDR_BITS:
                raise UsageError(
                    f"{path}: there is no TIFF for HDR screens.", "Write .jpg, .png, .avif or .jxl."
                )
            listed = ", ".join(PICTURE_SUFFIXES)
            raise UsageError(f"{path}: pictures are {listed}.", "Choose one of these.")
        if self.depth is not None and self.depth not in known[suffix]:
            held = " or ".join(map(str, known[suffix]))
            kind = _NAMES.get(suffix, suffix[1:].upper()) + (
                " for HDR screens" if self.is_hdr(path) else ""
            )
            raise UsageError(
                f"{path}: {kind} holds {held} bits a value, not {self.depth}.",
                "Choose another depth or suffix, or leave out --depth.",
            )
        if suffix in (".avif", ".jxl"):
            from hdrmerge.io.pq import imagecodecs

            imagecodecs(path)
        return self.depth or known[suffix][0]

    def is_hdr(self, path: Path) -> bool:
        """Whether a picture of this name is for HDR screens."""
        return self.hdr or path.suffix.lower() in (".avif", ".jxl")

    def check(self, path: Path) -> None:
        """Raise UsageError, before any work, for what cannot be written under this name."""
        self.bits(path)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"The quality must be from 1 to 100, not {self.quality}.")
        if self.diffuse_white is not None and not 0 < self.diffuse_white < float("inf"):
            raise UsageError(f"Diffuse white must be positive, not {self.diffuse_white:g}.")
        if not 203 <= self.peak <= 10_000:
            raise UsageError(
                f"The peak must be from 203 to 10000 cd/m2, not {self.peak:g}.",
                "203 is diffuse white, and 10000 the most that PQ can say.",
            )


def write_picture(
    path: Path,
    pixels: FloatArray | HalfArray,
    config: TonemapConfig | None = None,
    form: PictureFormat | None = None,
    settings: CaptureSettings | None = None,
) -> dict[str, Any]:
    """Write radiance (H, W, 3), linear Rec.709, as the picture that ``path`` and ``form`` name.

    ``settings`` become the picture's EXIF, and tell how bright the scene was. Returns what was
    decided for an HDR screen: ``diffuse_white``, ``peak``, and the fraction of pixels that are
    ``clipped`` there. Raises UsageError for what does not fit together, OutputError where the file
    cannot be written.
    """
    from hdrmerge import io
    from hdrmerge.tonemap import rendered, tonemap

    form = form or PictureFormat()
    form.check(path)
    bits = form.bits(path)
    unit = None if settings is None else settings.saturation_luminance
    quality = {} if form.quality is None else {"quality": form.quality}
    if not form.is_hdr(path):
        shown = rendered(pixels, config, bits=bits, dither=form.dither, unit=unit)
        io.write_display(path, shown, settings, **quality)
        return {}
    suffix = path.suffix.lower()
    gain_map = suffix in (".jpg", ".jpeg")
    white = form.diffuse_white
    sample = pixels if gain_map else _sample(pixels)
    if gain_map or white is None:
        codes = tonemap(sample, config, dither=form.dither, unit=unit)
        white = diffuse_white(sample, codes) if white is None else white
    light, clipped = _light(pixels, white, form.peak)
    told = {"diffuse_white": white, "peak": form.peak, "clipped": clipped}
    if gain_map:
        io.write_ultra_hdr(path, codes, light, settings, detail=form.gain_map, **quality)
    elif suffix == ".jxl":
        io.write_jxl(path, light, settings, **quality)
    else:
        absolute, levels = io.pq_codes(light, bits), io.light_levels(light)
        del light  # what the coder needs is a lot
        if suffix == ".png":
            io.write_pq_png(path, absolute, levels, settings)
        else:
            io.write_avif(path, absolute, settings, bits=bits, **quality)
    return told


def diffuse_white(pixels: FloatArray | HalfArray, codes: Codes) -> float:
    """The radiance of which the tone-mapped picture ``codes`` (uint8) makes white, by its middle.

    Where display luminance is neither dark nor bright, the operator multiplied radiance by about
    one number (its median is taken); where it goes on doing so, white is the inverse. So an HDR
    screen shows the middle as bright as the ordinary picture has it, and the rest as it was.
    """
    import numpy as np

    from hdrmerge.tonemap.colour import REC709_LUMINANCE
    from hdrmerge.tonemap.transfer import srgb_decode

    with np.errstate(over="ignore", invalid="ignore"):  # wild values are left out below
        scene = _sample(pixels) @ REC709_LUMINANCE
    linear = srgb_decode(np.linspace(0, 1, 256, dtype=np.float32))
    shown = np.take(linear, _sample(codes)) @ REC709_LUMINANCE
    seen = np.isfinite(scene) & (scene > 0) & (shown > 0)
    middle = seen & (shown > _MIDDLE[0]) & (shown < _MIDDLE[1])
    chosen = middle if middle.any() else seen
    if not chosen.any():
        return 1.0
    ratio = np.median(np.log(scene[chosen]) - np.log(shown[chosen]))
    return float(np.exp(np.clip(ratio, -80, 80)))


def _light(pixels: FloatArray | HalfArray, white: float, peak: float) -> tuple[FloatArray, float]:
    """Light relative to diffuse white, finite, from 0 to the peak, and the fraction clipped."""
    import numpy as np

    from hdrmerge.io.pq import DIFFUSE_WHITE
    from hdrmerge.tonemap.bands import in_bands

    limit = np.float32(peak / DIFFUSE_WHITE)
    light = np.empty(pixels.shape, np.float32)

    def convert(rows: slice) -> int:
        with np.errstate(over="ignore", invalid="ignore"):
            band = np.nan_to_num(pixels[rows] * np.float32(1 / white), nan=0, posinf=np.inf)
        np.clip(band, 0, limit, out=light[rows])
        return int(np.count_nonzero((band > limit).any(axis=2)))

    return light, sum(in_bands(pixels.shape, convert)) / (pixels.shape[0] * pixels.shape[1])


def _sample(pixels: Codes) -> Codes:
    """Every so many pixels, up to ``_SAMPLES``, to see what the operator would do."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _SAMPLES) ** 0.5))
    return pixels[::step, ::step]
