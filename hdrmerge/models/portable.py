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
    """A network of ``path`` as a function of (C, H, W) float32, channels in and out being folded
    pixels (``fusion.refine_inputs``).

    Threads may call it at once. Raises WeightsError for a file that is no such network.
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
        network.setInput(x[None])
        found: FloatArray = np.asarray(network.forward(), np.float32)[0]
        return found

    return run
