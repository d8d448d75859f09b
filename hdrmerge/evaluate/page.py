"""An evaluation as one self-contained page: the table, and what each method made of the motion."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrmerge.evaluate.scoring import Result
from hdrmerge.frames import FloatArray
from hdrmerge.io.atomic import write_text
from hdrmerge.metrics import Mask, mu_law

_CROP = 320
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fafafa}
table{border-collapse:collapse}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}
.row{display:flex;flex-wrap:wrap;gap:.8rem}figure{margin:0}figcaption{font-size:13px;color:#555}
img{display:block;width:320px;max-width:100%;image-rendering:pixelated}"""


@dataclass(slots=True)
class Page:
    """Collects pictures as ``evaluate(keep=page.keep)`` runs, then writes them."""

    pictures: dict[str, list[tuple[str, bytes, bytes]]] = field(default_factory=dict)

    def keep(
        self, folder: Path, method: str, estimate: FloatArray, truth: FloatArray, motion: Mask
    ) -> None:
        """Remember a crop of an estimate (1 = the shortest frame's saturation) and of its error."""
        top, left = busiest(motion)
        window = np.s_[top : top + _CROP, left : left + _CROP]
        gain = display_gain(truth)
        shown = self.pictures.setdefault(folder.name, [])
        if not shown:
            shown.append(("truth", _jpeg(_display(truth[window], gain)), b""))
        error = np.abs(mu_law(estimate[window]) - mu_law(truth[window])).mean(axis=2)
        grey = np.repeat(np.clip(error * 8, 0, 1)[..., None], 3, axis=2)
        shown.append((method, _jpeg(_display(estimate[window], gain)), _jpeg(_codes(grey))))

    def write(
        self,
        path: Path,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        results: Sequence[Result],
    ) -> None:
        """Write the page atomically; raises OutputError."""
        parts = [
            "<!doctype html><html lang=en><meta charset=utf-8><title>hdrmerge evaluate</title>",
            f"<style>{_STYLE}</style><h1>Merges against the truth</h1>",
            "<p>PSNR of mu-law images in dB for the whole picture, where something moves, and "
            "where nothing does; then the whole picture's linear PSNR, SSIM and PU21-PSNR, the "
            "colour cast and the share of static pixels worse than the plain merge.</p>",
            _table(header, rows),
        ]
        for name, shown in self.pictures.items():
            scores = {r.method: r.regions["motion"].psnr_mu for r in results if r.bracket == name}
            parts.append(
                f"<h2>{html.escape(name)}</h2><p>Where most moves, at 100 %; below each picture "
                "its error, eight times enlarged.</p><div class=row>"
            )
            for method, picture, error in shown:
                score = scores.get(method, float("nan"))
                caption = html.escape(method.partition("=")[0])
                if np.isfinite(score):
                    caption += f", {score:.1f} dB where something moves"
                images = "".join(_image(data) for data in (picture, error) if data)
                parts.append(f"<figure>{images}<figcaption>{caption}</figcaption></figure>")
            parts.append("</div>")
        write_text(path, "\n".join(parts))


def busiest(motion: Mask, size: int = _CROP) -> tuple[int, int]:
    """Top and left of the window of ``size`` pixels that holds most of a mask (H, W)."""
    import cv2

    height, width = motion.shape
    box = cv2.boxFilter(motion.astype(np.float32), -1, (size, size), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(box.argmax()), box.shape)
    top = min(max(0, int(y) - size // 2), max(0, height - size))
    left = min(max(0, int(x) - size // 2), max(0, width - size))
    return top, left


def display_gain(truth: FloatArray) -> float:
    """What brings the middle of a picture to a middle grey."""
    return float(0.3 / max(float(np.exp(np.mean(np.log(truth + 1e-5)))), 1e-6))


def _display(radiance: FloatArray, gain: float) -> NDArray[np.uint8]:
    bright = np.clip(radiance, 0, 1) * np.float32(gain)
    return _codes((bright * (1 + bright / np.float32(gain) ** 2) / (1 + bright)) ** (1 / 2.2))


def _codes(fraction: FloatArray) -> NDArray[np.uint8]:
    return (np.clip(fraction, 0, 1) * 255 + 0.5).astype(np.uint8)


def _jpeg(codes: NDArray[np.uint8]) -> bytes:
    from hdrmerge.simulate.camera import compress_jpeg

    return compress_jpeg(codes, 88, "444")


def _image(data: bytes) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(c)}" for c in header)]
    lines += ["<tr>" + "".join(f"<td>{html.escape(c)}" for c in row) for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"
