"""Networks that run without torch: plain convolutions in ONNX, by OpenCV's inference engine.

Importing torch takes seconds and the default merge must not; OpenCV is there anyway and is as fast.
The files are made from the safetensors by ``tools/make_portable.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hdrmerge.errors import WeightsError
from hdrmerge.frames import FloatArray


def load_portable(path: Path) -> Callable[[FloatArray], FloatArray]:
    """A network of ``path`` as a function of (C, H, W) float32 with even H and W.

    Threads may call it at once. It is folded: 2 x 2 pixels lie side by side as channels on both
    sides of the network. Raises WeightsError for a file that is no such network.
    """
    import cv2

    data = np.frombuffer(path.read_bytes(), np.uint8)
    own = threading.local()  # a network of OpenCV's does one thing at a time
    try:
        own.network = cv2.dnn.readNetFromONNX(data)
    except cv2.error as error:
        raise WeightsError(
            f"{path} is not a network that can be run.", "Reinstall hdrmerge."
        ) from error

    def run(x: FloatArray) -> FloatArray:
        if not hasattr(own, "network"):
            own.network = cv2.dnn.readNetFromONNX(data)
        network = own.network
        network.setInput(fold(x)[None])
        return unfold(np.asarray(network.forward(), np.float32)[0])

    return run


def fold(x: FloatArray) -> FloatArray:
    """(C, H, W) to (4 C, H/2, W/2), as torch's pixel_unshuffle does."""
    c, h, w = x.shape
    parts = x.reshape(c, h // 2, 2, w // 2, 2).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(parts.reshape(4 * c, h // 2, w // 2))


def unfold(x: FloatArray) -> FloatArray:
    """(4 C, H, W) to (C, 2 H, 2 W), as torch's pixel_shuffle does."""
    import cv2

    c, h, w = x.shape[0] // 4, *x.shape[1:]
    result = np.empty((c, h, 2, 2 * w), np.float32)
    for i in range(c):
        for row in range(2):
            left, right = x[4 * i + 2 * row], x[4 * i + 2 * row + 1]
            result[i, :, row] = cv2.merge((left, right)).reshape(h, 2 * w)  # three times as fast
    return result.reshape(c, 2 * h, 2 * w)
