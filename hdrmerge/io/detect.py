"""What a file is, by its content; the extension only breaks ties between TIFF and RAW."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from hdrmerge.errors import InputError, ResourceError
from hdrmerge.io.containers import JPEG_MAGIC, PNG_MAGIC, TiffReader

Kind = Literal["jpeg", "png", "tiff", "raw", "exr", "hdr", "pfm"]

_EXR_MAGIC = b"\x76\x2f\x31\x01"
RAW_SUFFIXES = frozenset(
    "." + name
    for name in (
        *("3fr", "ari", "arw", "bay", "cap", "cr2", "cr3", "crw", "dcr", "dcs", "dng", "erf"),
        *("fff", "gpr", "iiq", "k25", "kdc", "mdc", "mef", "mos", "mrw", "nef", "nrw", "orf"),
        *("pef", "ptx", "pxn", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
_FOREIGN = {  # what people hand over by mistake: magic, offset, name
    b"ftyphei": (4, "a HEIC picture"),
    b"ftypmif1": (4, "a HEIF picture"),
    b"ftypavif": (4, "an AVIF picture"),
    b"WEBP": (8, "a WebP picture"),
    b"GIF8": (0, "a GIF picture"),
    b"8BPS": (0, "a Photoshop document"),
    b"\xff\x0a": (0, "a JPEG XL picture"),
    b"\0\0\0\x0cJXL ": (0, "a JPEG XL picture"),
    b"%PDF": (0, "a PDF document"),
    b"PK\x03\x04": (0, "a zip archive"),
}


def open_input(path: Path) -> BinaryIO:
    """Opens a file for reading; raises InputError with a sentence where that cannot be."""
    try:
        if path.is_dir():
            raise InputError(
                f"{path} is a directory.", "Give the photographs in it, such as DIR/*.jpg."
            )
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a plain file.")
        file = path.open("rb")
        if not file.read(1):
            file.close()
            raise InputError(f"{path} is empty (zero bytes).", "Copy it again from the camera.")
        file.seek(0)
        return file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.", "Check the spelling of the path.") from None
    except PermissionError:
        raise InputError(f"{path} may not be read.", "Check its permissions.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None


@contextlib.contextmanager
def enough_memory(path: Path) -> Iterator[None]:
    """Turns running out of memory while ``path`` is read into a ResourceError."""
    try:
        yield
    except MemoryError:
        raise ResourceError(
            f"{path} needs more memory than there is.",
            "Close other programs, or the file is damaged.",
        ) from None


def detect(file: BinaryIO, path: Path) -> Kind:
    """Kind of an open file; what is no picture that we know raises InputError."""
    file.seek(0)
    head = file.read(16)
    if head.startswith(JPEG_MAGIC):
        return "jpeg"
    if head.startswith(PNG_MAGIC):
        return "png"
    if head.startswith(_EXR_MAGIC):
        return "exr"
    if head.startswith(b"#?"):
        return "hdr"
    if head[:3] in (b"PF\n", b"Pf\n", b"PF\r", b"Pf\r", b"PF ", b"Pf "):
        return "pfm"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        is_raw = _holds_mosaic(file) or path.suffix.lower() in RAW_SUFFIXES
        return "raw" if is_raw else "tiff"
    for magic, (offset, name) in _FOREIGN.items():
        if head[offset:].startswith(magic):
            raise InputError(f"{path} is {name}, which is not read.", "Convert it to JPEG or TIFF.")
    if path.suffix.lower() in RAW_SUFFIXES or head.startswith(
        (b"FUJIFILM", b"\0MRM", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"HEAP")
    ):
        return "raw"
    if head[4:11] == b"ftypcrx" or head[6:14] == b"HEAPCCDR":
        return "raw"
    raise InputError(
        f"{path} is not a picture that can be read.",
        "JPEG, PNG, TIFF and camera RAW are; of HDR pictures OpenEXR, Radiance HDR and PFM.",
    )


def _holds_mosaic(file: BinaryIO) -> bool:
    """Whether a TIFF structure is a RAW: it says it is a DNG, or a directory holds a mosaic."""
    tiff = TiffReader(file)
    head = tiff.read(0, 12)
    if head[8:10] == b"CR":  # Canon CR2
        return True
    offset, pending = tiff.first, 4
    while offset and pending:
        fields = tiff.directory(offset)
        if 0xC612 in fields:  # DNGVersion
            return True
        children = [int(v) for v in tiff.numbers(fields.get(330), 16)]
        for child in (fields, *(tiff.directory(c) for c in children)):
            if tiff.number(child.get(262)) in (32803, 34892):  # colour filter array, linear raw
                return True
        offset, pending = tiff.next_directory(offset), pending - 1
    return False
