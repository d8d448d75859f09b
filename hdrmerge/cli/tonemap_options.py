"""Options of a tone mapping, which `tonemap` and the previews of other commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from hdrmerge import config
from hdrmerge.cli.console import Console
from hdrmerge.errors import UsageError

PREVIEW = "Tone mapping"
ALL = "all"


def list_operators(console: Console) -> None:
    """Print every operator with its aliases and parameters as a product."""
    from hdrmerge.tonemap.operators import OPERATORS

    for operator in OPERATORS.values():
        aliases = f" ({', '.join(operator.aliases)})" if operator.aliases else ""
        console.product(f"{operator.name}{aliases}: {operator.summary}")
        console.product(f"    {operator.reference}")
        for parameter in operator.parameters:
            default = "automatic" if parameter.default is None else f"{parameter.default:g}"
            limits = f"{parameter.low:g} to {parameter.high:g}"
            console.product(f"    {parameter.name:<14} {default:<10} {limits:<16} {parameter.help}")


def _list_on_request(value: str | None) -> str | None:
    if value == "list":
        list_operators(Console())
        raise typer.Exit
    return value


Op = Annotated[
    str | None,
    typer.Option(
        "--op",
        metavar="NAME",
        is_eager=True,
        callback=_list_on_request,
        help=f"Tone-mapping operator, such as reinhard2002, drago2003 or agx; default: "
        f"{config.DEFAULT_OPERATOR}. list: print all with their parameters.",
        rich_help_panel=PREVIEW,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the operator, such as bias=0.9; may be repeated.",
        rich_help_panel=PREVIEW,
    ),
]
Exposure = Annotated[
    float,
    typer.Option(
        "--exposure", help="Brighten or darken by this many stops.", rich_help_panel=PREVIEW
    ),
]
Colour = Annotated[
    config.Colour | None,
    typer.Option(
        "--colour",
        "--color",
        help="Correction of saturation; default: what goes with the operator.",
        rich_help_panel=PREVIEW,
    ),
]
Saturation = Annotated[
    float | None,
    typer.Option(
        "--saturation",
        min=0.0,
        max=10.0,
        help="Saturation of colour; 1 is the scene's; default: what goes with the operator.",
        rich_help_panel=PREVIEW,
    ),
]


def tonemap_config(
    op: str | None,
    settings: list[str] | None,
    exposure: float,
    colour: config.Colour | None,
    saturation: float | None,
    *,
    key: float | None = None,
    white: float | None = None,
) -> config.TonemapConfig:
    """What the options ask for, checked against the operator; raises UsageError.

    ``key`` and ``white`` are options of their own for the parameters of that name.
    """
    from hdrmerge.tonemap.operators import OPERATORS, find_operator

    parameters = parse_settings(settings or [])
    for name, value in (("key", key), ("white", white)):
        if value is not None and name in parameters:
            raise UsageError(f"--{name} and --set {name} say the same.", "Give one of them.")
        if value is not None:
            parameters[name] = value
    if not abs(exposure) <= 30:
        raise UsageError(f"--exposure must be from -30 to 30 stops, not {exposure:g}.")
    name = op or config.DEFAULT_OPERATOR
    if name == ALL:
        if parameters:
            raise UsageError(
                "Parameters belong to one operator, and --op all shows every one.",
                "Leave them out, or name the operator.",
            )
    else:
        operator = find_operator(name)
        operator.check(parameters, OPERATORS)
        name = operator.name
    return config.TonemapConfig(name, exposure, parameters, colour, saturation)


def preview_config(
    op: str | None,
    settings: list[str] | None,
    exposure: float,
    colour: config.Colour | None,
    saturation: float | None,
) -> config.TonemapConfig:
    """As ``tonemap_config``, for a preview, which is one picture."""
    asked = tonemap_config(op, settings, exposure, colour, saturation)
    if asked.operator == ALL:
        raise UsageError(
            "The preview is one picture, and --op all makes a sheet of them.",
            "Name an operator, or use `hdrmerge tonemap --op all` on the HDR file later.",
        )
    return asked


def parse_settings(settings: list[str]) -> dict[str, float]:
    """Numbers by name of what ``--set`` was given; raises UsageError for what is no NAME=VALUE."""
    parameters: dict[str, float] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not equals or not name or value != value:
            raise UsageError(
                f"--set does not understand {setting!r}.",
                "Give a name and a number, such as --set bias=0.9; --op list names them.",
            )
        if name in parameters:
            raise UsageError(f"--set gives {name} twice.", "Give it once.")
        parameters[name] = value
    return parameters
