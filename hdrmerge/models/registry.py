"""Names of the networks and of their published variants; imports no torch until one is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdrmerge.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Model:
    """A network by name: where it lives, and whether it is ``direct``.

    A direct network takes exactly three frames and makes the radiance itself; with any other the
    radiometric merge carries the radiance: the decider says which frames are trusted where, the
    refiner takes out the noise that rejected frames leave.
    """

    name: str
    module: str
    network: str
    config: str
    direct: bool
    source: str


MODELS = {
    model.name: model
    for model in (
        Model(
            "ahdrnet",
            "hdrmerge.models.ahdrnet",
            "AHDRNet",
            "AHDRNetConfig",
            True,
            "Yan et al., CVPR 2019",
        ),
        Model(
            "sk-ahdrnet",
            "hdrmerge.models.sk_ahdrnet",
            "SKAHDRNet",
            "SKAHDRNetConfig",
            True,
            "Deng et al., ICPR 2020",
        ),
        Model(
            "kalantari",
            "hdrmerge.models.kalantari",
            "Kalantari",
            "KalantariConfig",
            True,
            "Kalantari and Ramamoorthi, SIGGRAPH 2017",
        ),
        Model(
            "decider",
            "hdrmerge.models.decider",
            "Decider",
            "DeciderConfig",
            False,
            "ours, any number of frames",
        ),
        Model(
            "refiner",
            "hdrmerge.models.refiner",
            "Refiner",
            "RefinerConfig",
            False,
            "ours, after classical deghosting",
        ),
    )
}

# The rows of both papers' ablation tables: variant -> (network, what its config changes).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "drdb-net": ("ahdrnet", {"attention": False}),
    "a-rdb-net": ("ahdrnet", {"dilated": False}),
    "rdb-net": ("ahdrnet", {"attention": False, "dilated": False}),
    "rb-net": ("ahdrnet", {"attention": False, "dense": False}),
    "deep-rb-net": ("ahdrnet", {"attention": False, "dense": False, "depth": 4}),
    "sk-ahdrnet-channel": ("sk-ahdrnet", {"attention": "channel"}),
    "sk-ahdrnet-spatial": ("sk-ahdrnet", {"attention": "spatial"}),
}


def find_model(name: str) -> Model:
    """The network that ``name`` (or the variant ``name``) is built from.

    Raises UsageError for an unknown name.
    """
    base = VARIANTS[name][0] if name in VARIANTS else name
    if base not in MODELS:
        raise UsageError(
            f"There is no network {name!r}.", f"Known are {', '.join((*MODELS, *VARIANTS))}."
        )
    return MODELS[base]


def is_direct(name: str) -> bool:
    """True when the network (or variant) makes radiance itself from three frames."""
    return find_model(name).direct


def make_config(name: str, values: Mapping[str, Any] | None = None) -> Any:
    """The config dataclass of a network or variant with ``values`` over its defaults.

    Raises WeightsError when ``values`` holds what the config does not know or refuses.
    """
    model = find_model(name)
    config_type = getattr(import_module(model.module), model.config)
    merged = {**(VARIANTS[name][1] if name in VARIANTS else {}), **(values or {})}
    known = {field.name for field in dataclasses.fields(config_type)}
    unknown = sorted(set(merged) - known)
    if unknown:
        raise WeightsError(
            f"The configuration of {name} does not know {', '.join(unknown)}.",
            "The weights may come from a newer hdrmerge.",
        )
    lists = {k: tuple(v) if isinstance(v, list) else v for k, v in merged.items()}
    try:
        return config_type(**lists)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The configuration of {name} makes no sense: {error}.") from error


def build(name: str, values: Mapping[str, Any] | None = None) -> nn.Module:
    """A network or variant with freshly drawn weights, for training; merging loads a checkpoint."""
    model = find_model(name)
    network: nn.Module = getattr(import_module(model.module), model.network)(
        make_config(name, values)
    )
    return network
