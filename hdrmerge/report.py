"""What a merge did, as one typed object: printed by ``--json``, carried by the EXR."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FrameReport:
    """One frame: stops are relative to the reference; alignment says what was done and why."""

    file: str
    exposure_time: float | None = None
    f_number: float | None = None
    iso: float | None = None
    exif_stops: float | None = None
    measured_stops: float | None = None
    measured_error: float | None = None  # standard error of the above
    used_stops: float = 0.0
    alignment: str = "none"
    alignment_note: str = ""
    clipped: float = 0.0  # fraction of pixels with a saturated channel
    rejected: float | None = None  # fraction of pixels whose influence deghosting at least halved


@dataclass(slots=True)
class MergeReport:
    """The whole merge. ``exposure_offset`` in stops: add it to make sets of a panorama match.

    None: not known, because nothing was merged yet, or the method does not tell.
    """

    version: str = ""
    width: int = 0
    height: int = 0
    frames: list[FrameReport] = field(default_factory=list)
    reference: str = ""
    response: str = ""
    response_note: str = ""
    exposure_source: str = ""
    deghost: str = "off"
    model: str | None = None
    weights_sha256: str | None = None
    colour_space: str = "lin_rec709_scene"
    exposure_offset: float = 0.0
    clipped_everywhere: float | None = None  # fraction of pixels saturated in every frame
    filled: float | None = None  # fraction of pixels whose radiance is a guess
    refined: float | None = None  # fraction of pixels whose noise a network took out
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_json(self, indent: int | None = None, *, seconds: bool = True) -> str:
        """As JSON; without ``seconds`` the same merge always gives the same text."""
        data = self.to_dict()
        if not seconds:
            del data["seconds"]
        return json.dumps(data, indent=indent, ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MergeReport:
        """Rebuild a report; unknown keys (of a newer version) are dropped."""
        known = {f.name for f in dataclasses.fields(cls)}
        frame_keys = {f.name for f in dataclasses.fields(FrameReport)}
        kept = {k: v for k, v in data.items() if k in known}
        kept["frames"] = [
            FrameReport(**{k: v for k, v in f.items() if k in frame_keys})
            for f in data.get("frames", [])
        ]
        return cls(**kept)
