"""Makes the pictures of README and docs/ from the bracket in demo/; ``make docs`` runs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sunset import sunset  # beside this file

from hdrmerge import MergeConfig, TonemapConfig, merge_stack, read_frames
from hdrmerge.io import read_radiance, write_bytes
from hdrmerge.pipeline import MergeResult
from hdrmerge.results import ghost_picture
from hdrmerge.simulate.room import room
from hdrmerge.tonemap import OPERATORS, contact_sheet, tonemap

DEMO = Path(__file__).parents[1] / "demo"
IMAGES = Path(__file__).with_name("images")
GAP = 6  # white pixels between pictures

Picture = NDArray[np.uint8]


def fit(picture: Picture, width: int) -> Picture:
    height = round(picture.shape[0] * width / picture.shape[1])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def beside(*pictures: Picture) -> Picture:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in pictures for part in (picture, gap)][:-1])


def below(*pictures: Picture) -> Picture:
    width = min(picture.shape[1] for picture in pictures)
    gap = np.full((GAP, width, 3), 255, np.uint8)
    return np.vstack([part for p in pictures for part in (p[:, :width], gap)][:-1])


def write(name: str, picture: Picture) -> None:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    write_bytes(IMAGES / name, data.tobytes())


def moving_part(ghosts: Picture, share: float = 0.6) -> tuple[slice, slice]:
    """A window around what deghosting rejected, ``share`` of the picture wide."""
    height, width = ghosts.shape[:2]
    rows, columns = np.nonzero(ghosts[..., 0] < 128)
    h, w = round(height * share), round(width * share)
    top = int(np.clip(np.median(rows) - h / 2, 0, height - h))
    left = int(np.clip(np.median(columns) - w / 2, 0, width - w))
    return slice(top, top + h), slice(left, left + w)


def ghosts_of(result: MergeResult) -> Picture:
    height, width = result.radiance.pixels.shape[:2]
    return (255 * ghost_picture(result, height, width)).astype(np.uint8)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    frames = read_frames(sorted(DEMO.glob("*.jpg")))
    default = merge_stack(frames, MergeConfig())
    plain = merge_stack(frames, MergeConfig(deghost="off"))
    classic = merge_stack(frames, MergeConfig(deghost="classic"))
    picture = tonemap(default.radiance.pixels)

    photographs = beside(*(fit(frame.pixels, (900 - 2 * GAP) // 3) for frame in frames))
    write("demo.jpg", below(photographs, fit(picture, photographs.shape[1])))

    rejected = ghosts_of(classic)
    crop = moving_part(rejected)
    shown = (tonemap(plain.radiance.pixels), picture, rejected)
    write("ghosts.jpg", beside(*(fit(p[crop], 380) for p in shown)))

    write_refined(classic, default)
    write_operators()


def write_refined(classic: MergeResult, default: MergeResult) -> None:
    """Where the network changed most: without it, with it, and the truth, twice the size."""
    truth = read_truth()
    ours = [classic.radiance.pixels, default.radiance.pixels]
    both = np.maximum(ours[0], 1e-6), np.maximum(ours[1], 1e-6)
    change = cv2.blur(np.abs(np.log(both[0] / both[1])).mean(axis=2), (90, 90))
    y, x = (int(i) for i in np.unravel_index(change.argmax(), change.shape))
    top = min(max(0, y - 75), change.shape[0] - 150)
    left = min(max(0, x - 75), change.shape[1] - 150)
    crop = slice(top, top + 150), slice(left, left + 150)
    scale = np.median(ours[1][crop] / np.maximum(truth[crop], 1e-6))
    level = 0.35 / float(np.quantile(ours[1][crop], 0.9))
    config = TonemapConfig("exposure", exposure=float(np.log2(level)))
    shown = (tonemap(radiance, config)[crop] for radiance in (*ours, truth * np.float32(scale)))
    big = (cv2.resize(p, (300, 300), interpolation=cv2.INTER_NEAREST) for p in shown)
    write("refined.jpg", beside(*(np.asarray(p, np.uint8) for p in big)))


def read_truth() -> NDArray[np.float32]:
    """What the demo's reference saw, made as demo/README.md says."""
    said = (DEMO / "README.md").read_text().partition("-m hdrmerge ")[2].split()
    options = [word for word in said if word != "\\"]
    with tempfile.TemporaryDirectory() as folder:
        options[options.index("-o") + 1] = folder + "/bracket"
        subprocess.run([sys.executable, "-m", "hdrmerge", *options], check=True)
        return read_radiance(Path(folder) / "bracket" / "truth.exr")[0]


def write_operators() -> None:
    """Two scenes through every tone-mapping operator, and the sheet that --op all makes."""
    folder = IMAGES / "tonemap"
    folder.mkdir(exist_ok=True)
    scenes = [room(320, 480), sunset(320, 480)]
    for name in OPERATORS:
        both = beside(*(fit(tonemap(scene, TonemapConfig(name)), 300) for scene in scenes))
        write(f"tonemap/{name}.jpg", both)
    sheet = contact_sheet(scenes[0], TonemapConfig())
    write("tonemap/all.jpg", fit(sheet, 960))


if __name__ == "__main__":
    main()
