"""Weights from a Hugging Face hub: only what a person names explicitly is ever downloaded."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hdrmerge.errors import UsageError, WeightsError
from hdrmerge.models.header import file_sha256

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SPEC = re.compile(rf"hf:({_NAME}/{_NAME})(?:@([A-Za-z0-9._/-]+))?(?::([A-Za-z0-9._/-]+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubSpec:
    """``repository`` (owner/name), ``revision`` (branch, tag or commit), ``file`` in it."""

    repository: str
    revision: str | None = None
    file: str | None = None


def parse_spec(text: str) -> HubSpec:
    """Understand ``hf:owner/repo[@revision][:file]``; raises UsageError."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} names nothing on a hub.", "Write hf:owner/repo[@revision][:file]."
        )
    return HubSpec(*match.groups())


def download(spec: HubSpec) -> Path:
    """Fetch a file into the hub's cache (nothing is sent when it is there and current).

    Without ``spec.file`` the repository must hold exactly one .safetensors file. ``HF_ENDPOINT``,
    ``HF_HOME`` and ``HF_HUB_OFFLINE`` are honoured. Raises WeightsError.
    """
    import huggingface_hub as hub

    endpoint = os.environ.get("HF_ENDPOINT") or None
    where = f"{spec.repository}{'@' + spec.revision if spec.revision else ''}"
    try:
        name = spec.file or _only_file(
            hub.HfApi(endpoint=endpoint).list_repo_files(spec.repository, revision=spec.revision),
            where,
        )
        path = Path(
            hub.hf_hub_download(spec.repository, name, revision=spec.revision, endpoint=endpoint)
        )
    except WeightsError:
        raise
    # which classes a failed connection raises differs between versions of the hub's client
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"The weights hf:{where} cannot be downloaded: {reason}",
            "Check the name and the network; a file you already have: --weights FILE.",
        ) from error
    stored_as = path.resolve().name  # the cache names a large file by its sha256
    if _SHA256.fullmatch(stored_as) and file_sha256(path) != stored_as:
        raise WeightsError(
            f"The downloaded weights {path} are damaged.", "Delete that file and try again."
        )
    return path


def _only_file(files: list[str], where: str) -> str:
    found = [name for name in files if name.endswith(".safetensors")]
    if len(found) == 1:
        return found[0]
    if not found:
        raise WeightsError(f"hf:{where} holds no .safetensors file.")
    raise WeightsError(
        f"hf:{where} holds {len(found)} files of weights.",
        f"Name one: hf:{where}:{found[0]}; there are {', '.join(found[:10])}.",
    )
