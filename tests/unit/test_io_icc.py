"""ICC profiles against the published matrices."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from io_files import gamma_curve, icc_profile

from hdrmerge.io.display import srgb_profile
from hdrmerge.io.icc import PRIMARIES, adobe_rgb, named_space, parse_profile

# Lindbloom's Adobe RGB (1998) and Apple's Display P3, both to linear sRGB.
KNOWN = {
    "Adobe RGB (1998)": [[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]],
    "Display P3": [[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0197, -0.0786, 1.0983]],
    "Rec.2020": [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
}
SRGB_PARA = b"para" + struct.pack(
    ">IHH5i",
    0,
    3,
    0,
    *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
)


@pytest.mark.parametrize("name", KNOWN)
def test_matrices_as_published(name: str) -> None:
    np.testing.assert_allclose(named_space(name).to_rec709, KNOWN[name], atol=2e-4)


@pytest.mark.parametrize("name", PRIMARIES)
def test_profiles_are_recognised(name: str) -> None:
    space = parse_profile(icc_profile(PRIMARIES[name], gamma_curve(2.2)))
    assert space is not None
    assert space.name == name
    np.testing.assert_allclose(space.to_rec709 @ np.ones(3), 1, atol=1e-12)
    np.testing.assert_allclose(space.to_rec709, named_space(name).to_rec709)


def test_unknown_primaries_keep_their_matrix() -> None:
    primaries = (0.66, 0.33, 0.25, 0.65, 0.15, 0.06, 0.3127, 0.3290)
    space = parse_profile(icc_profile(primaries, gamma_curve(1.8), name=b"My scanner"))
    assert space is not None
    assert space.name == "My scanner"
    assert space.transfer.startswith("gamma:1.8")
    assert np.abs(space.to_rec709 - np.eye(3)).max() > 0.05


def test_srgb_is_left_exactly_alone() -> None:
    space = parse_profile(srgb_profile())
    assert space is not None
    assert (space.name, space.transfer) == ("sRGB", "srgb")
    assert np.array_equal(space.to_rec709, np.eye(3))


def test_transfer_functions() -> None:
    p3 = parse_profile(icc_profile(PRIMARIES["Display P3"], SRGB_PARA))
    assert p3 is not None
    assert p3.transfer == "srgb"
    adobe = parse_profile(icc_profile(PRIMARIES["Adobe RGB (1998)"], gamma_curve(2 + 51 / 256)))
    assert adobe is not None
    assert float(adobe.transfer.removeprefix("gamma:")) == pytest.approx(2.19921875)
    assert adobe_rgb().transfer == "gamma:2.19921875"
    linear = parse_profile(icc_profile(PRIMARIES["sRGB"], b"curv" + struct.pack(">II", 0, 0)))
    assert linear is not None
    assert linear.transfer == "linear"


def test_sampled_curve() -> None:
    x = np.linspace(0, 1, 1024)
    table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    codes = np.rint(table * 65535).astype(">u2").tobytes()
    space = parse_profile(
        icc_profile(PRIMARIES["sRGB"], b"curv" + struct.pack(">II", 0, 1024) + codes)
    )
    assert space is not None
    assert space.transfer == "srgb"


def test_grey_profile() -> None:
    space = parse_profile(icc_profile(PRIMARIES["sRGB"], gamma_curve(1.8), model=b"GRAY"))
    assert space is not None
    assert space.transfer.startswith("gamma:1.8")


@pytest.mark.parametrize("length", [0, 3, 100, 131, 140, 200, 300, 400])
def test_damage_is_none_or_a_space(length: int) -> None:
    profile = icc_profile(PRIMARIES["Display P3"], gamma_curve(2.2))
    parse_profile(profile[:length])


def test_colorants_that_make_no_white_are_refused() -> None:
    profile = bytearray(icc_profile(PRIMARIES["sRGB"], gamma_curve(2.2)))
    at = profile.index(b"XYZ \0\0\0\0")
    struct.pack_into(">3i", profile, at + 8, 0, 0, 0)
    assert parse_profile(bytes(profile)) is None
