"""Networks on images of any size: tiles whose halo is the receptive radius change no answer.

A tile's halo ends at the image's true border, so the network's zero padding falls where it falls
without tiles. What a network averages over the whole image is averaged exactly, tile by tile, in a
first pass and handed to every tile. A tile that does not fit into memory is halved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hdrmerge.errors import ResourceError

Outputs = Tensor | Mapping[str, Tensor]
Precision = Literal["float32", "bfloat16"]

SMALLEST_TILE = 16
CPU_TILE = 512  # AHDRNet at full width then peaks at about 1.1 GiB
DEVICE_TILE = 1024


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows ``top:bottom`` and columns ``left:right`` of an image."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    def widened(self, halo: int, height: int, width: int) -> Tile:
        """With ``halo`` pixels more to each side, as far as the image goes."""
        return Tile(
            max(self.top - halo, 0),
            min(self.bottom + halo, height),
            max(self.left - halo, 0),
            min(self.right + halo, width),
        )

    def of(self, image: Tensor) -> Tensor:
        return image[..., self.top : self.bottom, self.left : self.right]

    def split(self, limit: int, multiple: int) -> list[Tile]:
        """Evenly into tiles of at most ``limit`` pixels a side, from multiples of ``multiple``."""
        rows = _cuts(self.top, self.bottom, limit, multiple)
        columns = _cuts(self.left, self.right, limit, multiple)
        return [Tile(*row, *column) for row in rows for column in columns]


def _cuts(start: int, stop: int, limit: int, multiple: int) -> list[tuple[int, int]]:
    limit = max(limit // multiple, 1) * multiple
    count = -(-(stop - start) // limit)
    size = -(-(stop - start) // (count * multiple)) * multiple
    return [(a, min(a + size, stop)) for a in range(start, stop, size)]


def run_tiled(
    network: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    tile: int | None = None,
    halo: int | None = None,
    *,
    function: Callable[..., Outputs] | None = None,
    prepare: Callable[..., Tensor] | None = None,
    precision: Precision = "float32",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Tensor]:
    """Run a network over whole images, on the device it is on, tile by tile.

    ``inputs``: tensors (..., H, W) of one image size, on any device; they are cropped alike and
    handed to ``prepare`` (on the network's device) where one is given, whose result is the
    network's input. ``tile``: side of a tile without its halo, None chooses; ``halo`` None derives
    it from ``network.receptive_radius``. ``function`` None means the network itself; otherwise one
    of its methods with the same arguments, such as ``attention_maps``. Networks with
    ``averaged_channels`` also get ``averages=``, the exact mean of ``network.averaged`` over the
    image. A network with strides has ``tile_multiple``: tiles begin at multiples of it.

    Returns the outputs (..., H, W) float32 on the CPU by name; one tensor alone is ``"output"``.
    Raises ResourceError when not even the smallest tile fits into memory.
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    height, width = tensors[0].shape[-2:]
    device = next(network.parameters()).device
    averaged = int(getattr(network, "averaged_channels", 0))
    multiple = int(getattr(network, "tile_multiple", 1))
    if halo is None:
        halo = int(network.receptive_radius)  # type: ignore[arg-type]
    side = tile or (CPU_TILE if device.type == "cpu" else DEVICE_TILE)
    passes = _Passes(2 if averaged else 1, height * width, progress)

    def call(run: Callable[..., Outputs], crops: list[Tensor], **extra: Tensor) -> Outputs:
        moved = [crop.to(device) for crop in crops]
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return run(*([prepare(*moved)] if prepare else moved), **extra)

    with torch.inference_mode():
        extra: dict[str, Tensor] = {}
        if averaged:
            radius = _rounded_up(int(network.averages_radius), multiple)  # type: ignore[arg-type]
            maps: Callable[..., Outputs] = network.averaged  # type: ignore[assignment]
            total: Tensor | None = None
            for core, wide, result in _each_tile(
                lambda crops: call(maps, crops), tensors, side, radius, multiple
            ):
                assert isinstance(result, Tensor)
                part = _core(result, core, wide).float().sum(dim=(-2, -1)).cpu().double()
                total = part if total is None else total + part
                passes.done(core)
            assert total is not None
            extra["averages"] = (total / (height * width)).to(device, torch.float32)
        whole: dict[str, Tensor] = {}
        run = function or network
        for core, wide, result in _each_tile(
            lambda crops: call(run, crops, **extra),
            tensors,
            side,
            _rounded_up(halo, multiple),
            multiple,
        ):
            named = {"output": result} if isinstance(result, Tensor) else result
            for name, value in named.items():
                if name not in whole:
                    whole[name] = torch.empty((*value.shape[:-2], height, width))
                core.of(whole[name]).copy_(_core(value, core, wide))
            passes.done(core)
    return whole


def _each_tile(
    run: Callable[[list[Tensor]], Outputs],
    tensors: Sequence[Tensor],
    side: int,
    halo: int,
    multiple: int,
) -> Iterator[tuple[Tile, Tile, Outputs]]:
    """(tile, tile with halo, result with halo); tiles are halved when memory ends."""
    height, width = tensors[0].shape[-2:]
    waiting = deque(Tile(0, height, 0, width).split(side, multiple))
    while waiting:
        core = waiting.popleft()
        if core.size > max(side, multiple):
            waiting.extendleft(reversed(core.split(side, multiple)))
            continue
        wide = core.widened(halo, height, width)
        result: Outputs | None = None
        try:
            result = run([wide.of(tensor) for tensor in tensors])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # outside the handler, whose traceback would keep the failed attempt's tensors alive
        if result is None:
            side = min(side, core.size) // 2
            if side < max(SMALLEST_TILE, multiple):
                raise ResourceError(
                    "There is not enough memory for the network, even in small tiles.",
                    "Use --device cpu, close other programs, or --deghost classic.",
                )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            waiting.appendleft(core)
            continue
        yield core, wide, result


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def _core(result: Tensor, core: Tile, wide: Tile) -> Tensor:
    """A result of ``wide`` without its halo."""
    top, left = core.top - wide.top, core.left - wide.left
    rows, columns = core.bottom - core.top, core.right - core.left
    return result[..., top : top + rows, left : left + columns]


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class _Passes:
    """Progress over all pixels of all passes, as a fraction."""

    def __init__(self, count: int, pixels: int, tell: Callable[[float], None] | None) -> None:
        self.total, self.tell, self.finished = count * pixels, tell, 0

    def done(self, tile: Tile) -> None:
        self.finished += (tile.bottom - tile.top) * (tile.right - tile.left)
        if self.tell is not None:
            self.tell(self.finished / self.total)
