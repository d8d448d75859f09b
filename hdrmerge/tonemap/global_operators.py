"""The operators that treat all pixels of a value alike: a record each."""

from __future__ import annotations

from hdrmerge.tonemap.record import Operator, Parameter

KEY = Parameter("key", None, "what the scene's log-average becomes; 0.18 in the paper", 1e-3, 100)
WHITE = Parameter("white", None, "luminance that becomes white, the middle being KEY", 1e-3, 1e9)

GLOBAL_OPERATORS = (
    Operator(
        "reinhard2002",
        "reinhard2002:reinhard2002",
        "photographic, global",
        "Reinhard, Stark, Shirley and Ferwerda 2002, Photographic tone reproduction, eq. 2 and 4",
        "curve",
        aliases=("reinhard", "reinhard02"),
        parameters=(KEY, WHITE),
    ),
    Operator(
        "exposure",
        "exposure:exposure",
        "as the camera would, clipped at white",
        "IEC 61966-2-1",
        "curve",
        aliases=("srgb", "linear"),
    ),
)
