"""The metadata a simulated camera writes, and the ways in which real cameras get it wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from hdrmerge.frames import CaptureSettings

ExifFault = Literal["none", "missing", "same-time", "zero", "rounded", "no-f-number"]

_START = datetime(2024, 6, 1, 12, 0, 0)
_NOMINAL_TIMES = np.array(
    [
        *(
            1
            / np.array([8000, 6400, 5000, 4000, 3200, 2500, 2000, 1600, 1250, 1000, 800, 640, 500])
        ),
        *(
            1
            / np.array([400, 320, 250, 200, 160, 125, 100, 80, 60, 50, 40, 30, 25, 20, 15, 13, 10])
        ),
        *(1 / np.array([8, 6, 5, 4])),
        *(0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.3, 1.6, 2, 2.5, 3.2, 4, 5, 6, 8, 10, 13, 15, 20, 25, 30),
    ]
)


def capture_settings(
    fault: ExifFault,
    k: int,
    stops: tuple[float, ...],
    iso_stops: tuple[float, ...],
    base_time: float,
    f_number: float | None,
    iso: float | None,
) -> CaptureSettings:
    """What the metadata of frame k says.

    ``missing``: nothing; ``same-time``: every frame carries the first one's time; ``zero``: the
    last frame has time 0/0 and ISO 0; ``rounded``: times as dials name them (1/32 as 1/30);
    ``no-f-number``: a manual lens.
    """
    if fault == "missing":
        return CaptureSettings()
    time: float | None = base_time * 2.0 ** stops[0 if fault == "same-time" else k]
    speed = None if iso is None else iso * 2.0 ** iso_stops[k]
    if fault == "rounded" and time is not None:
        time = float(_NOMINAL_TIMES[np.argmin(np.abs(np.log(_NOMINAL_TIMES / time)))])
    if fault == "zero" and k == len(stops) - 1:
        time, speed = None, None
    return CaptureSettings(
        exposure_time=time,
        f_number=None if fault == "no-f-number" else f_number,
        iso=None if speed is None else float(round(speed)),
        captured_at=_START + timedelta(seconds=0.4 * k),
        camera_make="hdrmerge",
        camera_model="Simulated Camera",
        lens_model="Simulated 24-70mm",
        focal_length=35.0,
    )
