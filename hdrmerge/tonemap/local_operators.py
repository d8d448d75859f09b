"""The operators that treat a pixel by its surroundings: a record each."""

from __future__ import annotations

from hdrmerge.tonemap.global_operators import KEY, WHITE
from hdrmerge.tonemap.record import Operator, Parameter

LOCAL_OPERATORS = (
    Operator(
        "reinhard2002-local",
        "reinhard2002:reinhard2002_local",
        "photographic, dodging and burning",
        "Reinhard, Stark, Shirley and Ferwerda 2002, Photographic tone reproduction, eq. 5-9",
        "image",
        aliases=("reinhard-local",),
        parameters=(
            KEY,
            WHITE,
            Parameter("phi", 8.0, "sharpness of the choice of surround", 0, 20),
            Parameter("threshold", 0.05, "contrast that a surround may hold", 1e-4, 10),
        ),
    ),
)
