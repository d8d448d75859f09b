"""Responses: inverse and forward, tables for codes, files; and one estimated from a bracket."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrmerge.errors import InputError, OutputError, UsageError
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.response import Response, read_response, write_response
from hdrmerge.response_plot import plot_response

NO_SETTINGS = CaptureSettings()


def frame(pixels: np.ndarray, **keywords: object) -> Frame:
    return Frame(pixels, keywords.pop("encoding", "display"), NO_SETTINGS, Path("a"), **keywords)  # type: ignore[arg-type]


def codes(dtype: str) -> np.ndarray:
    if dtype == "float32":
        return np.linspace(0, 1, 257, dtype=np.float32).reshape(1, -1, 1).repeat(3, 2)
    full = np.iinfo(dtype).max
    return np.linspace(0, full, 257).astype(dtype).reshape(1, -1, 1).repeat(3, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_srgb_is_exact(dtype: str) -> None:
    z = codes(dtype)
    full = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    v = z.astype(np.float64) / full
    expected = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    linear = Response.srgb().linearise(frame(z), z)
    assert linear.dtype == np.float32
    np.testing.assert_allclose(linear, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("spec", ["srgb", "linear", "gamma:2.2", "gamma:1"])
def test_encode_undoes_linearise(spec: str) -> None:
    response = Response.named(spec)
    z = codes("uint8")
    np.testing.assert_allclose(
        response.encode(response.linearise(frame(z), z)), z / 255.0, atol=2e-4
    )


def test_channels_have_their_own_curves() -> None:
    v = np.linspace(0, 1, 256)
    response = Response("three", np.stack([v, v**2, v**3], axis=1).astype(np.float32))
    z = codes("uint16")
    linear = response.linearise(frame(z), z)
    expected = np.stack([(z[..., c] / 65535.0) ** (c + 1) for c in range(3)], axis=-1)
    np.testing.assert_allclose(linear, expected, atol=2e-5)


def test_a_linear_frame_keeps_its_negatives() -> None:
    z = np.array([[[90, 100, 300]]], dtype=np.uint16)
    raw = frame(z, encoding="linear", black=100.0, white=300.0)
    np.testing.assert_allclose(Response.srgb().linearise(raw, z), [[[-0.05, 0, 1]]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (97, 61)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_quantiles_are_those_of_linear_values(dtype: str, shape: tuple[int, int]) -> None:
    z = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (*shape, 3)).astype(dtype)
    z[..., 1] = np.minimum(z[..., 1], 9)  # many alike
    q = np.linspace(0, 1, 33)
    found = Response.srgb().quantiles(frame(z), q)
    v = z / np.iinfo(dtype).max
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    expected = np.quantile(linear.reshape(-1, 3), q, axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "curve",
    [
        np.zeros((4, 3)),
        np.linspace(0, 1, 4),
        np.linspace(1, 0, 4)[:, None].repeat(3, 1),
        np.array([[0.0] * 3, [np.nan] * 3, [1.0] * 3]),
        np.linspace(0.1, 1, 4)[:, None].repeat(3, 1),
    ],
)
def test_nonsense_is_no_response(curve: np.ndarray) -> None:
    with pytest.raises(InputError):
        Response("nonsense", curve.astype(np.float32))


@pytest.mark.parametrize("spec", ["gamma:", "gamma:nan", "gamma:0", "gamma:99", "srgb2", "no.json"])
def test_unknown_names(spec: str) -> None:
    with pytest.raises(UsageError):
        Response.named(spec)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_json_keeps_every_bit(values: list[float]) -> None:
    curve = np.sort(np.array(values, dtype=np.float32))
    curve[0], curve[-1] = 0, 1
    response = Response("any", curve[:, None].repeat(3, 1))
    back = Response.from_json(response.to_json())
    assert back.name == "any"
    np.testing.assert_array_equal(back.curve, response.curve)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_response(Response.gamma(2.2), path)
    assert Response.named(str(path)).name == "gamma 2.2"
    with pytest.raises(OutputError):
        write_response(Response.gamma(2.2), tmp_path / "none" / "r.json")
    for text in ("", "{}", "[1]", '{"format": "other", "name": "x", "curve": [[0, 1]]}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"r\.json"):
            read_response(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        read_response(path)


def test_the_plot_shows_the_curve() -> None:
    v = np.linspace(0, 1, 256)
    split = Response("split", np.stack([v, v**2, v**3], axis=1).astype(np.float32))
    shared, three = plot_response(Response.gamma(1.8)), plot_response(split)
    assert shared.dtype == np.uint8 and shared.shape == three.shape == (640, 900, 3)
    assert np.all(shared.max(axis=2) - shared.min(axis=2) < 3)  # one curve, black
    assert np.any(three[..., 0].astype(int) - three[..., 1] > 80)  # red
