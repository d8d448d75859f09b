"""A picture of a camera response, drawn with what is at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.response import Response

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 900, 640
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 50, 70
STOPS = 10  # shown below saturation
INK, GRID, GREY = (40, 40, 40), (225, 225, 225), (150, 150, 150)
CHANNELS = ((200, 40, 40), (30, 140, 60), (40, 70, 200))


def plot_response(response: Response) -> Picture:
    """Code against exposure in stops below saturation, beside sRGB: (640, 900, 3) uint8 RGB.

    A curve that the three channels share is drawn once, in black.
    """
    import cv2

    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def write(text: str, x: int, y: int, *, size: float = 0.5) -> None:
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        at = (x - width // 2, y)
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)

    for stop in range(-STOPS, 1):
        x = _column(np.array([float(stop)]))[0]
        cv2.line(picture, (int(x), TOP), (int(x), HEIGHT - BOTTOM), GRID, 1)
        write(str(stop), int(x), HEIGHT - BOTTOM + 22)
    for code in (0, 64, 128, 192, 255):
        y = _row(np.array([code / 255]))[0]
        cv2.line(picture, (LEFT, int(y)), (WIDTH - RIGHT, int(y)), GRID, 1)
        write(str(code), LEFT - 28, int(y) + 5)
    write("exposure, stops from saturation", (LEFT + WIDTH - RIGHT) // 2, HEIGHT - 18)
    write(f"camera response: {response.name} (grey: sRGB)", WIDTH // 2, 30, size=0.6)

    _draw(picture, Response.srgb(), 1, GREY)
    shared = all(np.array_equal(response.curve[:, 0], response.curve[:, c]) for c in (1, 2))
    for c, colour in enumerate(((0, 0, 0),) if shared else CHANNELS):
        _draw(picture, response, c, colour)
    return picture


def _draw(picture: Picture, response: Response, c: int, colour: tuple[int, int, int]) -> None:
    import cv2

    exposure: FloatArray = np.exp2(np.linspace(-STOPS, 0, 600)).astype(np.float32)
    codes = response.encode(np.repeat(exposure[:, None], 3, axis=1))[:, c]
    points = np.stack([_column(np.log2(exposure)), _row(codes)], axis=1)
    fixed = np.round(points * 16).astype(np.int32)
    cv2.polylines(picture, [fixed], False, colour, 2, cv2.LINE_AA, shift=4)


def _column(stops: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(WIDTH - RIGHT + stops * (WIDTH - RIGHT - LEFT) / STOPS, dtype=np.float64)


def _row(fraction: NDArray[np.floating]) -> NDArray[np.float64]:
    span = HEIGHT - BOTTOM - TOP
    return np.asarray(HEIGHT - BOTTOM - fraction * span, dtype=np.float64)
