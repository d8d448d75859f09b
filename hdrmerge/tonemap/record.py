"""What is known of a tone-mapping operator without loading it: names, parameters, the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal

from hdrmerge.config import Colour
from hdrmerge.errors import UsageError

Kind = Literal["curve", "local", "image"]
Takes = Literal["luminance", "rgb"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that an operator can be given.

    ``default`` None: the operator finds it from the picture. ``low`` and ``high`` are allowed.
    """

    name: str
    default: float | None
    help: str
    low: float
    high: float

    def check(self, operator: str, value: float) -> None:
        """Raise UsageError for a value outside the range; NaN is outside."""
        if not self.low <= value <= self.high:
            raise UsageError(
                f"{self.name} of {operator} must be from {self.low:g} to {self.high:g}, "
                f"not {value:g}.",
                f"{self.name}: {self.help}.",
            )


@dataclass(frozen=True, slots=True)
class Operator:
    """A tone-mapping operator.

    ``name`` is author-year, ``aliases`` are shorter or other programs' names, ``summary`` is one
    line for people, ``reference`` the paper. ``function`` is "module:function" within
    ``hdrmerge.tonemap``, imported when it is used. What the function is, ``kind`` says:

    - ``curve``: ``function(scene, **parameters)`` returns a function of an array of any size, for
      operators that need nothing but the scene's statistics and the pixel itself. It is called on
      bands of rows by several threads.
    - ``local``: ``function(picture, scene, **parameters)`` returns a function of a band and the
      slice of rows that it is, called likewise, for operators that need a pixel's surroundings in
      small; ``picture`` has a shape, and rows of it are made when they are asked for.
    - ``image``: ``function(picture, scene, **parameters)`` returns the whole picture.

    ``takes`` luminance: (H, W) float32, finite, >= 0, in; display luminance, linear, 0 = black and
    1 = white, out; what exceeds 1 is clipped, and colour is carried along by ``colour``.
    ``takes`` rgb: the same with (H, W, 3), linear Rec.709. ``scene`` is a ``scene.Statistics`` of
    the scene before ``--exposure``, by which the array is brightened already. Parameters are
    keyword-only and all of them are passed, None where they are to be found from the picture.

    ``colour`` and ``saturation`` are those of the paper, used unless people ask for others.
    """

    name: str
    function: str
    summary: str
    reference: str
    kind: Kind
    takes: Takes = "luminance"
    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    colour: Colour = "none"
    saturation: float = 1.0

    def load(self) -> Callable[..., Any]:
        """The function itself; imports its module."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(import_module(f"hdrmerge.tonemap.{module}"), name)
        return function

    def check(
        self, values: Mapping[str, float], operators: Mapping[str, Operator] | None = None
    ) -> None:
        """Raise UsageError for a parameter that the operator lacks or that is out of range.

        The hint names those of ``operators`` that have what this one lacks.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in values.items():
            if name not in known:
                listed = ", ".join(known) or "none"
                owners = [
                    operator.name
                    for operator in (operators or {}).values()
                    if any(parameter.name == name for parameter in operator.parameters)
                ]
                also = f" {', '.join(owners)} would take it: choose by --op." if owners else ""
                raise UsageError(
                    f"The operator {self.name} has no parameter {name!r}.",
                    f"Its parameters: {listed}.{also}",
                )
            known[name].check(self.name, value)

    def complete(self, values: Mapping[str, float]) -> dict[str, float | None]:
        """``values``, and the defaults of all other parameters; raises like ``check``."""
        self.check(values)
        return {p.name: values.get(p.name, p.default) for p in self.parameters}


def find(name: str, operators: Mapping[str, Operator]) -> Operator:
    """The operator of this name or alias; raises UsageError for an unknown one."""
    names = {alias: op for op in operators.values() for alias in (op.name, *op.aliases)}
    if name.lower() in names:
        return names[name.lower()]
    close = get_close_matches(name.lower(), names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(operators)}."
    raise UsageError(f"There is no tone-mapping operator {name!r}.", hint)
