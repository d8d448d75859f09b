"""Write a simulated bracket: the files a camera would, and the truth beside them."""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hdrmerge import __version__
from hdrmerge.errors import InputError, OutputError
from hdrmerge.frames import CaptureSettings, Frame, RadianceMap
from hdrmerge.io.atomic import write_bytes, write_text
from hdrmerge.io.encoded import upright
from hdrmerge.io.exr import read_exr, write_exr
from hdrmerge.simulate.bracket import (
    Mask,
    SimulatedBracket,
    SimulationConfig,
)
from hdrmerge.simulate.geometry import inside
from hdrmerge.simulate.motion import MotionConfig
from hdrmerge.simulate.photograph import RAW_BLACK, RAW_WHITE, undo_turn


def write_bracket(
    bracket: SimulatedBracket,
    folder: Path,
    *,
    name: str = "frame",
    facts: dict[str, Any] | None = None,
) -> list[Path]:
    """Write a bracket into ``folder`` (made where absent) and return the frames' paths.

    Beside ``NAME_0.jpg`` ...: ``truth.exr`` (float32; 1 = saturation of the reference),
    ``truth_K.exr`` for every frame that sees something else and ``moment_K.exr``, the same in the
    reference's geometry, where that is something else again, ``motion.png``, ``same_K.png``,
    ``clipped_K.png`` (white = yes, in the reference's geometry) and ``scene.json``, which also
    holds ``facts``. Raises OutputError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {error.strerror}.", "Choose another."
        ) from error
    paths = []
    for k, frame in enumerate(bracket.frames):
        path = folder / f"{name}_{k}{frame.path.suffix}"
        write_frame(path, bracket, k)
        paths.append(path)
    write_exr(folder / "truth.exr", RadianceMap(bracket.truth), float32=True)
    _write_mask(folder / "motion.png", bracket.motion)
    rows = []
    for k, path in enumerate(paths):
        radiance = bracket.truth_of(k)
        truth = "truth.exr"
        if not np.allclose(radiance, bracket.truth, rtol=1e-4, atol=1e-6):
            truth = f"truth_{k}.exr"
            write_exr(folder / truth, RadianceMap(radiance), float32=True)
        moment = "truth.exr"
        if not np.array_equal(bracket.moments[k], bracket.truth):
            still = np.array_equal(bracket.homographies[k], np.eye(3))
            moment = truth if still and not bracket.config.parallax else f"moment_{k}.exr"
            if moment != truth:
                write_exr(folder / moment, RadianceMap(bracket.moments[k]), float32=True)
        _write_mask(folder / f"same_{k}.png", bracket.same[k])
        _write_mask(folder / f"clipped_{k}.png", bracket.clipped[k])
        rows.append(
            {
                "file": path.name,
                "stops": bracket.stops[k],
                "truth": truth,
                "moment": moment,
                "homography": bracket.homographies[k].tolist(),
                "exif": _plain(dataclasses.asdict(bracket.frames[k].settings)),
            }
        )
    height, width = bracket.truth.shape[:2]
    scene = {
        "hdrmerge": __version__,
        "width": width,
        "height": height,
        "reference": bracket.reference,
        "frames": rows,
        "config": _plain(dataclasses.asdict(bracket.config)),
        **(facts or {}),
    }
    write_text(folder / "scene.json", json.dumps(scene, indent=1))
    return paths


def write_frame(path: Path, bracket: SimulatedBracket, k: int) -> None:
    """Write frame k as the camera would, with its metadata; the suffix of ``path`` is not used."""
    frame, config = bracket.frames[k], bracket.config
    zero = config.exif == "zero" and frame.settings.exposure_time is None
    cfa = bracket.cfa[k]
    if cfa is not None:
        from hdrmerge.simulate.dng import REC709_FROM_XYZ, write_dng

        gains = np.array(config.raw_white_balance)
        matrix = np.array(REC709_FROM_XYZ).reshape(3, 3) / gains[:, None]
        write_dng(
            path,
            cfa,
            settings=frame.settings,
            black=RAW_BLACK,
            white=RAW_WHITE,
            as_shot_neutral=tuple(1 / gains),
            colour_matrix=tuple(matrix.ravel()),
        )
        return
    if config.format == "tif16":
        _write_tiff(path, frame, config.orientation)
        return
    exif = exif_block(frame.settings, config.orientation, zero=zero, empty=config.exif == "missing")
    data = bracket.files[k]
    if data is not None:
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
        write_bytes(path, data[:2], segment if exif else b"", data[2:])
        return
    import cv2

    turned = upright(frame.pixels, undo_turn(config.orientation))
    data = cv2.imencode(".png", cv2.cvtColor(turned, cv2.COLOR_RGB2BGR))[1].tobytes()
    chunk = b""
    if exif:
        payload = b"eXIf" + exif
        chunk = struct.pack(">I", len(exif)) + payload + struct.pack(">I", zlib.crc32(payload))
    write_bytes(path, data[:33], chunk, data[33:])  # after the signature and IHDR


def exif_block(
    settings: CaptureSettings, orientation: int = 1, *, zero: bool = False, empty: bool = False
) -> bytes:
    """A TIFF-structured EXIF block; ``zero`` writes a time of 0/0 and ISO 0, ``empty`` nothing."""
    from PIL import Image
    from PIL.TiffImagePlugin import IFDRational

    if empty and orientation == 1:
        return b""
    exif = Image.Exif()
    exif[0x0112] = orientation
    inner: dict[int, Any] = {}
    for tag, text in ((0x010F, settings.camera_make), (0x0110, settings.camera_model)):
        if text is not None:
            exif[tag] = text
    for tag, value in (
        (33434, settings.exposure_time),
        (33437, settings.f_number),
        (37386, settings.focal_length),
    ):
        if value is not None:
            inner[tag] = IFDRational(Fraction(value).limit_denominator(1_000_000))
    if settings.iso is not None:
        inner[34855] = round(settings.iso)
    if zero:
        inner[33434], inner[34855] = IFDRational(0, 0), 0
    if settings.lens_model is not None:
        inner[42036] = settings.lens_model
    if settings.captured_at is not None:
        exif[0x0132] = inner[36867] = settings.captured_at.strftime("%Y:%m:%d %H:%M:%S")
        inner[37521] = f"{settings.captured_at.microsecond:06d}"
    exif.get_ifd(0x8769).update(inner)
    block = bytes(exif.tobytes())
    return block.removeprefix(b"Exif\0\0")


def _write_tiff(path: Path, frame: Frame, orientation: int) -> None:
    """16-bit TIFF with the exposure in its first directory, as TIFF/EP (ISO 12234-2) has it."""
    import tifffile

    from hdrmerge.io.atomic import atomic_path

    s = frame.settings
    tags: list[tuple[int, int, int, Any, bool]] = [(274, 3, 1, orientation, True)]
    for tag, value in ((33434, s.exposure_time), (33437, s.f_number), (37386, s.focal_length)):
        if value is not None:
            f = Fraction(value).limit_denominator(1_000_000)
            tags.append((tag, 5, 1, (f.numerator, f.denominator), True))
    if s.iso is not None:
        tags.append((34855, 3, 1, round(s.iso), True))
    if s.captured_at is not None:
        stamp = s.captured_at.strftime("%Y:%m:%d %H:%M:%S")
        tags.append((36867, 2, len(stamp) + 1, stamp, True))
    for tag, text in ((271, s.camera_make), (272, s.camera_model)):
        if text is not None:
            tags.append((tag, 2, len(text) + 1, text, True))
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            upright(frame.pixels, undo_turn(orientation)),
            photometric="rgb",
            metadata=None,
            extratags=tags,
        )


def _write_mask(path: Path, mask: Mask) -> None:
    import cv2

    write_bytes(path, cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())


def _plain(value: Any) -> Any:
    """Data as JSON can hold it."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def read_bracket(folder: Path) -> SimulatedBracket:
    """A bracket that ``write_bracket`` wrote, frames read as any reader does.

    Raises InputError where ``folder`` holds none or a file of it is damaged.
    """
    try:
        return _assemble(folder, bracket_facts(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / 'scene.json'} is not of this version or is damaged ({error}).",
            "Simulate the bracket again.",
        ) from error


def _assemble(folder: Path, facts: dict[str, Any]) -> SimulatedBracket:
    from hdrmerge.io import read_frames

    rows = facts["frames"]
    settings = dict(facts["config"])
    settings["motion"] = MotionConfig(**{k: _tupled(v) for k, v in settings["motion"].items()})
    if not isinstance(settings["response"], str):
        settings["response"] = np.array(settings["response"])
    config = SimulationConfig(
        **{k: _tupled(v) if isinstance(v, list) else v for k, v in settings.items()}
    )
    stops = tuple(float(row["stops"]) for row in rows)
    clean = tuple(
        read_exr(folder / row["truth"])[0] * np.float32(2.0**stop)
        for row, stop in zip(rows, stops, strict=True)
    )
    same = np.stack([_read_mask(folder / f"same_{k}.png") for k in range(len(rows))])
    clipped = np.stack([_read_mask(folder / f"clipped_{k}.png") for k in range(len(rows))])
    homographies = np.array([row["homography"] for row in rows])
    seen = np.stack([inside(h, same.shape[1:]) for h in homographies])
    return SimulatedBracket(
        config=config,
        frames=tuple(read_frames([folder / row["file"] for row in rows])),
        files=(None,) * len(rows),
        cfa=(None,) * len(rows),
        stops=stops,
        reference=int(facts["reference"]),
        truth=read_exr(folder / "truth.exr")[0],
        homographies=homographies,
        clean=clean,
        moments=tuple(read_exr(folder / row["moment"])[0] for row in rows),
        same=same,
        clipped=clipped,
        valid=same & seen & ~clipped,
        motion=_read_mask(folder / "motion.png"),
    )


def bracket_facts(folder: Path) -> dict[str, Any]:
    """``scene.json`` of a simulated bracket; raises InputError where there is none."""
    try:
        facts: dict[str, Any] = json.loads((folder / "scene.json").read_text())
        if not facts["frames"]:
            raise KeyError("frames")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} holds no simulated bracket.", "Make one with `hdrmerge simulate`."
        ) from error
    return facts


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read_mask(path: Path) -> Mask:
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise InputError(f"{path} is missing or damaged.", "Simulate the bracket again.")
    return np.asarray(pixels > 127)
