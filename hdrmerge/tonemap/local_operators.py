"""The operators that treat a pixel by its surroundings: a record each."""

from __future__ import annotations

from hdrmerge.tonemap.global_operators import KEY, WHITE
from hdrmerge.tonemap.record import Operator, Parameter

_SIGMA_SPACE = Parameter("sigma_space", 0.02, "of the bilateral, of the longer side", 1e-4, 1)
_SIGMA_RANGE = Parameter("sigma_range", 0.4, "of the bilateral, log10 luminance", 0.01, 10)

LOCAL_OPERATORS = (
    Operator(
        "auto",
        "auto:auto",
        "looks right without a parameter",
        "guided filter (He, Sun and Tang 2013), curve of Eilertsen, Mantiuk and Unger 2015",
        "local",
        parameters=(
            Parameter(
                "brightness", None, "mean sRGB code; default: about 112, less in the dark", 1, 254
            ),
            Parameter("detail", None, "factor on fine contrast; default: from the picture", 0, 5),
        ),
    ),
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
    Operator(
        "reinhard2002-bilateral",
        "reinhard2002:reinhard2002_bilateral",
        "photographic, surround by the bilateral filter",
        "Reinhard et al. 2002, eq. 9, with the bilateral filter of Durand and Dorsey 2002",
        "image",
        aliases=("reinhard-bilateral",),
        parameters=(KEY, WHITE, _SIGMA_SPACE, _SIGMA_RANGE),
    ),
    Operator(
        "durand2002",
        "durand2002:durand2002",
        "bilateral base with less contrast, detail as it is",
        "Durand and Dorsey 2002, Fast bilateral filtering for the display of HDR images",
        "image",
        aliases=("durand", "durand02", "bilateral"),
        parameters=(
            Parameter("contrast", 5.0, "contrast of the base, so many to one", 1, 1e6),
            _SIGMA_SPACE,
            _SIGMA_RANGE,
        ),
    ),
    Operator(
        "fattal2002",
        "fattal2002:fattal2002",
        "gradient domain: large gradients made smaller",
        "Fattal, Lischinski and Werman 2002, Gradient domain high dynamic range compression",
        "image",
        aliases=("fattal", "fattal02"),
        parameters=(
            Parameter("alpha", 1.0, "gradient that is kept, of the mean gradient", 1e-3, 100),
            Parameter("beta", 0.9, "exponent on gradients; 1 keeps them", 0.5, 1.5),
            Parameter("gamma", 0.8, "exponent on the result's luminance", 0.1, 3),
            Parameter("noise", 0.001, "log gradients that are noise", 0, 1),
            Parameter(
                "detail_level", 3.0, "finest levels that are left alone; 0 in the paper", 0, 10
            ),
        ),
        colour="schlick1995",
        saturation=0.8,
    ),
    Operator(
        "mantiuk2006",
        "mantiuk2006:mantiuk2006",
        "contrasts at all scales, as the eye responds to them",
        "Mantiuk, Myszkowski and Seidel 2006, A perceptual framework for contrast processing",
        "image",
        aliases=("contrast-mapping", "mantiuk06"),
        parameters=(
            Parameter("factor", 0.3, "on the eye's responses; lower is flatter", 0.01, 1),
            Parameter("equalize", 0.0, "contrast equalisation: 0 off, 0.1 strong to 1 less", 0, 1),
        ),
        colour="schlick1995",
        saturation=0.8,
    ),
    Operator(
        "mertens2007",
        "mertens2007:mertens2007",
        "exposure fusion of exposures made from the radiance",
        "Mertens, Kautz and Van Reeth 2007, Exposure fusion",
        "image",
        takes="rgb",
        aliases=("mertens", "exposure-fusion"),
        parameters=(
            Parameter("contrast", 1.0, "power of the contrast's weight", 0, 10),
            Parameter("saturation", 1.0, "power of the saturation's weight", 0, 10),
            Parameter("exposedness", 1.0, "power of the weight of being well exposed", 0, 10),
            Parameter("sigma", 0.2, "width of what is well exposed", 0.01, 10),
            Parameter("spacing", 2.0, "stops between exposures", 0.1, 10),
        ),
    ),
)
