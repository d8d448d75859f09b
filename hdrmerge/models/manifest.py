"""Which weights ship with the package, and what is known of them: ``weights/manifest.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hdrmerge.errors import UsageError, WeightsError
from hdrmerge.models.registry import find_model, is_direct

__all__ = [
    "Manifest",
    "WeightsEntry",
    "is_direct",
    "read_manifest",
    "shipped",
    "weights_folder",
]

PORTABLE = ".onnx"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One file of weights.

    ``name`` is what ``--weights`` takes; ``model`` the network, ``config`` its configuration;
    ``file`` a plain name beside the manifest, ``sha256`` of the whole file. How it was made:
    ``recipe`` (a config file of the repository), ``seed``, ``steps``, ``data`` (sources),
    ``hardware``; ``scores`` on the validation scenes by name. ``portable``: sha256 of the same
    network in a form that runs without torch, beside it as ``.onnx``; empty where there is none.
    """

    name: str
    model: str
    file: str
    sha256: str
    config: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""
    seed: int = 0
    steps: int = 0
    data: tuple[str, ...] = ()
    hardware: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    portable: str = ""

    def __post_init__(self) -> None:
        for text in (self.name, self.file):
            if not (isinstance(text, str) and _PLAIN_NAME.fullmatch(text)):
                raise ValueError(f"{text!r} is no plain name")
        hashes = (self.sha256, self.portable) if self.portable else (self.sha256,)
        if not all(isinstance(text, str) and _SHA256.fullmatch(text) for text in hashes):
            raise ValueError(f"{self.name}: sha256 is not 64 hexadecimal digits")
        find_model(self.model)
        object.__setattr__(self, "data", tuple(self.data))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The weights in ``folder`` by name; ``default`` names those that ``fuse`` uses unasked."""

    folder: Path
    entries: dict[str, WeightsEntry]
    default: str | None = None

    def path(self, entry: WeightsEntry) -> Path:
        return self.folder / entry.file

    def portable(self, entry: WeightsEntry) -> Path | None:
        """The file that runs without torch."""
        return self.path(entry).with_suffix(PORTABLE) if entry.portable else None

    def for_model(self, model: str) -> WeightsEntry | None:
        """The default weights when they are of this network, else the first listed that are."""
        own = [entry for entry in self.entries.values() if entry.model == model]
        return next((entry for entry in own if entry.name == self.default), next(iter(own), None))


def weights_folder() -> Path:
    """``hdrmerge/weights`` in an installed package, ``weights`` of a checkout or editable one."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def read_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.toml``; a folder without one holds no weights.

    Raises WeightsError when the file is no valid manifest.
    """
    path = folder / "manifest.toml"
    if not path.is_file():
        return Manifest(folder, {})
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = [WeightsEntry(**values) for values in data.get("weights", [])]
        by_name = {entry.name: entry for entry in entries}
        if len(by_name) < len(entries):
            raise ValueError("a name is listed twice")
        default = data.get("default") or None
        if default is not None and default not in by_name:
            raise ValueError(f"the default {default!r} is not listed")
    except (OSError, ValueError, TypeError, UsageError) as error:
        raise WeightsError(
            f"The list of weights {path} is not valid: {str(error).rstrip('.')}.",
            "Reinstall hdrmerge.",
        ) from error
    return Manifest(folder, by_name, default)


@lru_cache(maxsize=1)
def shipped() -> Manifest:
    """The manifest of the weights that came with this installation."""
    return read_manifest(weights_folder())
