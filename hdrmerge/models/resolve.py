"""From what a person says after ``--weights`` and ``--model`` to a checked file on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hdrmerge.errors import WeightsError
from hdrmerge.models import hub
from hdrmerge.models.header import file_sha256, read_header
from hdrmerge.models.manifest import Manifest, WeightsEntry, shipped
from hdrmerge.models.registry import VARIANTS, find_model, make_config


@dataclass(frozen=True, slots=True)
class ResolvedWeights:
    """A file of weights: ``name`` for people, the ``model`` it is of, ``sha256`` of the file;
    ``portable``: the same network for ``models.portable``, where it is shipped."""

    path: Path
    name: str
    model: str
    sha256: str
    portable: Path | None = None


def resolve_weights(
    spec: str | None, model: str | None = None, manifest: Manifest | None = None
) -> ResolvedWeights:
    """Find weights; nothing is downloaded unless ``spec`` begins with ``hf:``.

    ``spec``: the name of shipped weights, a file, ``hf:owner/repo[@revision][:file]``, or None for
    the shipped weights of ``model`` (None: the default network). A known sha256 is verified.
    Raises WeightsError when there are none, when they are damaged or of another network than
    ``model``, UsageError for an unknown ``model``.
    """
    manifest = manifest or shipped()
    portable = None
    if model is not None:
        find_model(model)  # an unknown network is said before anything is looked for
    if spec is None:
        entry = _unasked(manifest, model)
        path, name, portable = check_entry(manifest, entry), entry.name, manifest.portable(entry)
    elif spec.startswith("hf:"):
        path, name = hub.download(hub.parse_spec(spec)), spec
    elif spec in manifest.entries:
        entry = manifest.entries[spec]
        path, name, portable = check_entry(manifest, entry), spec, manifest.portable(entry)
    elif Path(spec).is_file():
        path, name = Path(spec), Path(spec).name
    else:
        known = ", ".join(manifest.entries) or "none is shipped"
        raise WeightsError(
            f"There are no weights {spec!r}.",
            f"Give a name ({known}), a file, or hf:owner/repo.",
        )
    found = _model_of(path, model)
    return ResolvedWeights(path, name, found, file_sha256(path), portable)


def check_entry(manifest: Manifest, entry: WeightsEntry) -> Path:
    """The file of shipped weights, its sha256 (and that of its portable form) compared; raises
    WeightsError."""
    path, portable = manifest.path(entry), manifest.portable(entry)
    for file, sha256 in ((path, entry.sha256), (portable, entry.portable)):
        if file is None:
            continue
        if not file.is_file():
            raise WeightsError(
                f"The weights {entry.name} are not installed.", "Reinstall hdrmerge."
            )
        if file_sha256(file) != sha256:
            raise WeightsError(
                f"The weights {entry.name} are damaged: {file} is not the file that was shipped.",
                "Reinstall hdrmerge.",
            )
    return path


def _unasked(manifest: Manifest, model: str | None) -> WeightsEntry:
    if model is None:
        entry = manifest.entries.get(manifest.default or "")
        if entry is not None:
            return entry
        message = "No default weights are shipped with this version."
    else:
        entry = manifest.for_model(model)
        if entry is not None:
            return entry
        message = f"No weights for {model} are shipped with this version."
    raise WeightsError(
        message,
        "Name some with --weights FILE or --weights hf:owner/repo, make them with hdrmerge train, "
        "or use --deghost classic.",
    )


def _model_of(path: Path, asked: str | None) -> str:
    """The network the file's header names, checked against the one asked for."""
    header = read_header(path)
    if header.model is None:
        raise WeightsError(
            f"{path} does not say which network its weights are of.",
            "Weights in the published AHDRNet layout: hdrmerge weights convert.",
        )
    if asked is None:
        return header.model
    wanted = find_model(asked)
    mismatch = header.model != wanted.name
    if not mismatch and asked in VARIANTS:
        try:
            values = header.config()
        except ValueError as error:
            raise WeightsError(f"{path} is not a sound file of weights: {error}.") from error
        config = make_config(wanted.name, values)
        mismatch = any(getattr(config, k) != v for k, v in VARIANTS[asked][1].items())
    if mismatch:
        raise WeightsError(
            f"{path.name} holds weights of {header.model}, not of {asked}.",
            f"Leave --model out, or name weights of {asked}.",
        )
    return header.model
