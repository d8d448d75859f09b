"""hdrmerge: a bracket of photographs in, one clean HDR image out.

The public API is resolved on first use, so that ``import hdrmerge`` costs nothing::

    from hdrmerge import MergeConfig, merge_stack, read_frames, write_exr

    result = merge_stack(read_frames(paths), MergeConfig())
    write_exr(Path("out.exr"), result.radiance, result.report, result.settings)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdrmerge.config import MergeConfig, TonemapConfig
    from hdrmerge.errors import HdrMergeError
    from hdrmerge.frames import CaptureSettings, Frame, RadianceMap
    from hdrmerge.io import read_frame, read_frames, read_radiance, write_exr
    from hdrmerge.pipeline import MergeResult, merge_stack
    from hdrmerge.report import MergeReport
    from hdrmerge.stack import ExposureStack

__version__ = "0.1.0"

_HOMES = {
    "CaptureSettings": "hdrmerge.frames",
    "ExposureStack": "hdrmerge.stack",
    "Frame": "hdrmerge.frames",
    "HdrMergeError": "hdrmerge.errors",
    "MergeConfig": "hdrmerge.config",
    "MergeReport": "hdrmerge.report",
    "MergeResult": "hdrmerge.pipeline",
    "RadianceMap": "hdrmerge.frames",
    "TonemapConfig": "hdrmerge.config",
    "merge_stack": "hdrmerge.pipeline",
    "read_frame": "hdrmerge.io",
    "read_frames": "hdrmerge.io",
    "read_radiance": "hdrmerge.io",
    "write_exr": "hdrmerge.io",
}

__all__ = [
    "CaptureSettings",
    "ExposureStack",
    "Frame",
    "HdrMergeError",
    "MergeConfig",
    "MergeReport",
    "MergeResult",
    "RadianceMap",
    "TonemapConfig",
    "__version__",
    "merge_stack",
    "read_frame",
    "read_frames",
    "read_radiance",
    "write_exr",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hdrmerge' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
