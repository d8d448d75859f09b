"""Brackets are found in folders: each test shoots a card whose truth is known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from card import Body, Card, make_scene
from io_files import SHARED
from PIL import Image

from hdrmerge.batch.find import find_brackets
from hdrmerge.batch.plan import FindOptions, Plan
from hdrmerge.errors import InputError, UsageError
from hdrmerge.frames import CaptureSettings
from hdrmerge.io.display import write_display
from hdrmerge.io.exif import read_shot

Rng = np.random.Generator
THREE = (0.0, -2.0, 2.0)
BODY = Body()


@pytest.fixture
def rng() -> Rng:
    return np.random.default_rng(5)


def brackets(plan: Plan) -> set[tuple[str, ...]]:
    return {tuple(sorted(b.files)) for b in plan.brackets}


def truth(card: Card) -> set[tuple[str, ...]]:
    return {tuple(sorted(b)) for b in card.truth.brackets}


def accounted(plan: Plan) -> list[str]:
    rows = (*plan.singles, *plan.duplicates, *plan.unreadable)
    return sorted([f for b in plan.brackets for f in b.files] + [row.file for row in rows])


def check(card: Card, folder: Path, **options: Any) -> Plan:
    """The plan is the truth, every file is in it once, and nothing is doubted."""
    plan = find_brackets([folder], FindOptions(**options))
    assert brackets(plan) == truth(card)
    assert {s.file for s in plan.singles} == set(card.truth.singles)
    assert accounted(plan) == sorted(p.relative_to(folder).as_posix() for p in folder.iterdir())
    assert [b.doubt for b in plan.brackets if b.doubt] == []
    return plan


def test_brackets_and_singles_of_a_day(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for _ in range(4):
        card.single(make_scene(rng), base=1 / 125)
        card.wait(8)
        card.bracket(make_scene(rng), THREE, base=1 / 60)
        card.wait(20)
    plan = check(card, tmp_path)
    first = plan.brackets[0]
    assert first.files == ("IMG_0002.JPG", "IMG_0003.JPG", "IMG_0004.JPG")
    assert first.name == "IMG_0002-0004"
    assert first.stops == pytest.approx(THREE, abs=0.1)  # 1/60, 1/250 and 1/15
    assert "2 stops apart" in first.reason
    assert plan.singles[0].reason == "a single shot"


def test_two_fired_back_to_back_are_two(tmp_path: Path, rng: Rng) -> None:
    card, scene = Card(tmp_path, rng, BODY), make_scene(rng)
    for base in (1 / 60, 1 / 60, 1 / 80, 1 / 50):  # metered anew
        card.bracket(scene, (-2.0, 0.0, 2.0), base=base)
    check(card, tmp_path)


def test_a_pause_inside_does_not_split(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for at in (1, 2, 1, 2):
        card.bracket(make_scene(rng), THREE, pause_at=(at, 45.0))
        card.wait(2)
    check(card, tmp_path)


def test_a_long_exposure_delays_the_next_shot(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, replace(BODY, sub_seconds=False))
    for _ in range(3):
        card.bracket(make_scene(rng), (4.0, 2.0, 0.0, -2.0), base=1.0)
        card.wait(6)
    check(card, tmp_path)


@pytest.mark.parametrize("count", [2, 4, 5, 7, 9])
def test_any_number_of_frames(count: int, tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for _ in range(4):
        card.bracket(make_scene(rng), [k - count // 2 for k in range(count)], base=1 / 60)
        card.wait(15)
    check(card, tmp_path)


@pytest.mark.parametrize("vary", ["iso", "aperture"])
def test_other_kinds_of_exposure(vary: str, tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for _ in range(3):
        card.bracket(make_scene(rng), (0.0, -1.0, 1.0), vary=vary)
        card.wait(15)
    check(card, tmp_path)


def test_raw_and_jpeg_of_a_shot_count_once(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY, raw="beside")
    card.bracket(make_scene(rng), THREE)
    card.wait(20)
    card.bracket(make_scene(rng), THREE)
    raw = check(card, tmp_path)
    assert all(f.endswith(".DNG") for b in raw.brackets for f in b.files)
    assert {d.file[-3:] for d in raw.duplicates} == {"JPG"}
    assert raw.duplicates[0].reason == "the same shot as IMG_0001.DNG"
    jpeg = find_brackets([tmp_path], FindOptions(prefer="jpeg"))
    assert all(f.endswith(".JPG") for b in jpeg.brackets for f in b.files)
    assert len(jpeg.duplicates) == 6


def test_raw_and_jpeg_in_sibling_folders_count_once(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path / "raw", rng, BODY, raw="beside")
    card.bracket(make_scene(rng), THREE)
    (tmp_path / "jpeg").mkdir()
    for path in (tmp_path / "raw").glob("*.JPG"):
        path.rename(tmp_path / "jpeg" / path.name)
    plan = find_brackets([tmp_path])
    assert [b.name for b in plan.brackets] == ["raw/IMG_0001-0003"]
    assert len(plan.duplicates) == 3


def test_another_scene_of_the_same_names_is_no_jpeg_of_the_raw(tmp_path: Path, rng: Rng) -> None:
    """Three folders with the same names and clock: by RAW, and by JPEG of two other scenes."""
    for name, raw in (("one", "only"), ("two", "no"), ("three", "no")):
        Card(tmp_path / name, rng, BODY, raw=raw).bracket(make_scene(rng), THREE)
    plan = find_brackets([tmp_path])
    assert [b.name for b in plan.brackets] == [
        f"{n}/IMG_0001-0003" for n in ("one", "three", "two")
    ]
    assert plan.duplicates == ()


def test_folders_that_differ_in_most_shots_share_none(tmp_path: Path, rng: Rng) -> None:
    Card(tmp_path / "one", rng, BODY, raw="only").bracket(make_scene(rng), THREE)
    Card(tmp_path / "two", rng, BODY).bracket(make_scene(rng), (0.0, -3.0, 3.0))
    plan = find_brackets([tmp_path])
    assert [b.name for b in plan.brackets] == ["one/IMG_0001-0003", "two/IMG_0001-0003"]
    assert plan.duplicates == ()


def test_copies_and_edited_versions_count_once(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    card.bracket(make_scene(rng), THREE)
    shutil.copy(tmp_path / "IMG_0001.JPG", tmp_path / "backup.JPG")
    edited = (tmp_path / "IMG_0002.JPG").read_bytes() + b"edited"
    (tmp_path / "IMG_0002-edit.jpg").write_bytes(edited)
    plan = find_brackets([tmp_path])
    assert len(plan.brackets) == 1 and len(plan.brackets[0].files) == 3
    reasons = {d.file: d.reason for d in plan.duplicates}
    assert len(reasons) == 2
    assert "copy of" in (reasons.get("backup.JPG") or reasons["IMG_0001.JPG"])
    assert reasons["IMG_0002-edit.jpg"] == "a version of IMG_0002.JPG"
    assert any("copies" in w for w in plan.warnings)


def test_the_order_of_the_listing_plays_no_part(
    tmp_path: Path, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(tmp_path, rng, replace(BODY, sub_seconds=False), raw="beside")
    for _ in range(3):
        card.bracket(make_scene(rng), THREE)
    plan = find_brackets([tmp_path])
    listed = os.walk

    def backwards(top: Any) -> Iterator[Any]:
        for where, folders, files in listed(top):
            yield where, folders[::-1], files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert find_brackets([tmp_path]) == plan


def test_a_burst_of_equal_exposures_is_no_bracket(tmp_path: Path, rng: Rng) -> None:
    card, scene = Card(tmp_path, rng, BODY), make_scene(rng)
    for _ in range(6):
        card.single(scene)
    plan = check(card, tmp_path)
    assert plan.singles[0].reason == "one of several shots with the same exposure"


def test_metering_in_changing_light_is_no_bracket(tmp_path: Path, rng: Rng) -> None:
    card, scene = Card(tmp_path, rng, BODY), make_scene(rng)
    for stops in (0.0, 1.0, 2.0, 3.0):
        card.single(scene * np.float32(2.0**-stops), stops)
    check(card, tmp_path)


def test_a_fixed_count_groups_whatever_lies_there(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for _ in range(3):
        scene = make_scene(rng)
        card.truth.brackets.append(tuple(card.shoot(scene, 0.0) for _ in range(4)))
        card.wait(30)
    plan = find_brackets([tmp_path], FindOptions(frames=4))
    assert brackets(plan) == truth(card)
    assert find_brackets([tmp_path]).brackets == ()


@pytest.mark.parametrize("body", [BODY, replace(BODY, sub_seconds=False), Body(exif=False)])
def test_the_counter_wraps(body: Body, tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, body, counter=9992)
    for _ in range(6):
        card.bracket(make_scene(rng), THREE)
        card.wait(0.1)
    check(card, tmp_path)


def test_the_camera_s_own_numbers_order_what_names_and_clock_cannot(
    tmp_path: Path, rng: Rng
) -> None:
    body = Body(make="Canon", maker="canon", sub_seconds=False, marks=False)
    card, scene = Card(tmp_path, rng, body), make_scene(rng)
    card.pause = 0.01
    for _ in range(20):
        card.bracket(scene, THREE, base=1 / 60)
    renamed = {}
    for path in sorted(tmp_path.iterdir()):
        renamed[path.name] = f"p{rng.integers(10**6, 10**7)}.jpg"
        path.rename(tmp_path / renamed[path.name])
    plan = find_brackets([tmp_path])
    assert brackets(plan) == {tuple(sorted(renamed[f] for f in b)) for b in card.truth.brackets}
    assert not plan.doubtful


def test_two_cameras_at_once(tmp_path: Path, rng: Rng) -> None:
    cards = [Card(tmp_path, rng, replace(BODY, serial=s), prefix=f"{s}_") for s in ("a", "b")]
    for _ in range(4):
        for card in cards:
            card.bracket(make_scene(rng), THREE)
            card.wait(3)
    plan = find_brackets([tmp_path])
    assert brackets(plan) == truth(cards[0]) | truth(cards[1])
    assert not plan.doubtful


def test_zooming_splits(tmp_path: Path, rng: Rng) -> None:
    card, scene = Card(tmp_path, rng, BODY), make_scene(rng)
    card.bracket(scene, (-2.0, 0.0, 2.0), focal=24.0)
    card.single(scene, 4.0, focal=35.0)
    check(card, tmp_path)


def test_panoramas_are_one_bracket_a_view(tmp_path: Path, rng: Rng) -> None:
    card, wide = Card(tmp_path, rng, BODY), make_scene(rng, (64, 400))
    for k in range(5):
        card.bracket(wide[:, 64 * k : 64 * k + 96], THREE)
        card.wait(0.5)
    check(card, tmp_path)


def rename(card: Card, folder: Path, rng: Rng) -> None:
    """Names that tell nothing."""
    names = rng.permutation(len(list(folder.iterdir())))
    moved = {}
    for path, k in zip(sorted(folder.iterdir()), names, strict=True):
        moved[path.name] = f"p{k + 100}.jpg"
        path.rename(folder / moved[path.name])
    card.truth.brackets = [tuple(moved[f] for f in b) for b in card.truth.brackets]


def test_more_brackets_in_one_second_than_a_camera_takes(tmp_path: Path, rng: Rng) -> None:
    """A clock that begins anew: the pictures tell the brackets apart."""
    card = Card(tmp_path, rng, replace(BODY, sub_seconds=False))
    start = card.now
    for shift in (0.0, 1.0, 0.5, 2.0):
        card.now = start
        card.bracket(make_scene(rng), (0.0, -2.0, 2.0, 1.0, -1.0), base=2.0**shift / 400)
    rename(card, tmp_path, rng)
    check(card, tmp_path)


def test_brackets_of_one_view_that_share_a_second_are_flagged(tmp_path: Path, rng: Rng) -> None:
    """Nothing tells which of two brackets a frame at the turn of the second belongs to."""
    card, scene = Card(tmp_path, rng, replace(BODY, sub_seconds=False)), make_scene(rng)
    for _ in range(2):
        card.bracket(scene, (-4.0, -2.0, 0.0, 2.0, 4.0), base=1 / 500)
    card.wait(60)
    rename(card, tmp_path, rng)
    plan = find_brackets([tmp_path])
    wrong = [b for b in plan.brackets if tuple(sorted(b.files)) not in truth(card)]
    assert all(b.doubt for b in wrong) and any(b.doubt for b in plan.brackets)


def test_a_frame_apart_that_shows_nothing_is_flagged(tmp_path: Path, rng: Rng) -> None:
    card, scene = Card(tmp_path, rng, BODY), make_scene(rng)
    card.shoot(np.full_like(scene, 3.0), 4.0)  # all white
    card.wait(6.0)
    card.bracket(scene, (-2.0, 0.0, 2.0))
    for bracket in find_brackets([tmp_path]).brackets:
        assert set(bracket.files) == set(card.truth.brackets[0]) or bracket.doubt


def test_nothing_but_the_pictures(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, Body(exif=False))
    for _ in range(5):
        card.bracket(make_scene(rng), THREE, shake=0.01)
    rename(card, tmp_path, rng)
    plan = check(card, tmp_path)
    assert plan.brackets[0].stops is None
    assert "of different brightness" in plan.brackets[0].reason


def test_metadata_that_never_change_are_not_believed(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, replace(BODY, sub_seconds=False), frozen=True)
    scene = make_scene(rng)
    light = [scene * np.float32(2.0**s) for s in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    card.truth.brackets.append(tuple(card.shoot(x, 0.0) for x in light))
    check(card, tmp_path)


def test_without_looking_nothing_is_decoded(
    tmp_path: Path, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(tmp_path, rng, BODY)
    card.bracket(make_scene(rng), THREE)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr("hdrmerge.batch.find.load_looks", fail)
    assert brackets(find_brackets([tmp_path], FindOptions(measure=False))) == truth(card)


def test_what_the_camera_marks_needs_no_look(
    tmp_path: Path, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(tmp_path, rng, Body(make="Canon", maker="canon", marks=True, bias=True))
    for _ in range(3):
        card.bracket(make_scene(rng), THREE)
        card.wait(5)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr("hdrmerge.batch.find.load_looks", fail)
    plan = check(card, tmp_path)
    assert "marked as a bracket by the camera" in plan.brackets[0].reason


@pytest.mark.parametrize(
    ("maker", "stops", "shot", "frames"),
    [
        ("canon", -2.0, 2, None),
        ("nikon", -2.0, None, None),
        ("sony", None, 2, None),
        ("panasonic", None, 2, 3),
    ],
)
def test_maker_notes(
    maker: str, stops: float | None, shot: int | None, frames: int | None, tmp_path: Path, rng: Rng
) -> None:
    card = Card(tmp_path, rng, Body(make=maker.upper(), maker=maker))
    card.bracket(make_scene(rng), THREE)
    card.single(make_scene(rng))
    with (tmp_path / "IMG_0002.JPG").open("rb") as file:
        drive = read_shot(file).drive
    assert (drive.bracketing, drive.shot, drive.frames) == (True, shot, frames)
    assert drive.stops == (None if stops is None else pytest.approx(stops))
    with (tmp_path / "IMG_0004.JPG").open("rb") as file:
        assert read_shot(file).drive.bracketing is False or maker == "panasonic"


def test_a_missing_frame_is_flagged(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    for k in range(6):
        card.bracket(make_scene(rng), (-2.0, 0.0, 2.0), skip=1 if k == 3 else None)
        card.wait(10)
    plan = find_brackets([tmp_path])
    assert brackets(plan) == truth(card)
    [doubtful] = plan.doubtful
    assert doubtful.files == card.truth.brackets[3]
    assert "2 frames where others of this camera have 3" in str(doubtful.doubt)


def test_a_retake_is_flagged(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    card.bracket(make_scene(rng), (-2.0, 0.0, 0.0, 2.0))
    plan = find_brackets([tmp_path])
    assert brackets(plan) == truth(card)
    assert "repeats an exposure" in str(plan.brackets[0].doubt)


def test_damaged_files_are_listed_and_others_passed_over(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path, rng, BODY)
    card.bracket(make_scene(rng), THREE)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "IMG_0001.JPG").read_bytes()[:20])
    for name in ("notes.txt", "._IMG_0001.JPG", "film.mov"):
        (tmp_path / name).write_bytes(b"x")
    plan = find_brackets([tmp_path])
    reasons = {u.file: u.reason for u in plan.unreadable}
    assert set(reasons) == {"empty.jpg", "text.jpg", "phone.heic", "cut.jpg"}
    assert reasons["empty.jpg"] == "is empty (zero bytes)"
    assert "HEIC" in reasons["phone.heic"]
    assert brackets(plan) == truth(card)


def test_masks_and_own_pictures_are_no_photographs(tmp_path: Path, rng: Rng) -> None:
    """What simulate and fuse write beside photographs; a frame without EXIF stays one."""
    card = Card(tmp_path, rng, BODY)
    card.bracket(make_scene(rng), THREE)
    bare = Card(tmp_path, rng, Body(exif=False), prefix="BARE_")
    bare.bracket(make_scene(rng), (0.0, -2.0, 2.0, 4.0))
    for path in tmp_path.glob("BARE_*"):  # as PNG, which masks are
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    photographs = {path.name for path in tmp_path.iterdir()}
    settings = CaptureSettings(exposure_time=1 / 60, f_number=8.0, iso=100.0)
    for k, stops in enumerate((0, 1, 2)):
        x = make_scene(rng) * 2.0**stops
        clipped = np.where(x > np.median(x), 255, 0).astype(np.uint8)
        Image.fromarray(clipped).save(tmp_path / f"clipped_{k}.png")
        codes = np.clip(255 * x, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        write_display(tmp_path / f"preview_{k}.jpg", codes, settings)
        write_display(tmp_path / f"ghosts_{k}.png", codes)
    plan = find_brackets([tmp_path])
    assert {f for b in plan.brackets for f in b.files} == photographs
    assert sorted(len(b.files) for b in plan.brackets) == [3, 4]
    reasons = {u.file.partition("_")[0]: u.reason for u in plan.unreadable}
    assert reasons == {
        "clipped": "is no photograph: it has two values alone",
        "preview": "is a picture that hdrmerge made",
        "ghosts": "is a picture that hdrmerge made",
    }
    assert len(plan.unreadable) == 9 and not plan.singles


def test_folders_are_mirrored_and_names_unique(tmp_path: Path, rng: Rng) -> None:
    for sub in ("villa/ground floor", "villa/roof", "hut"):
        Card(tmp_path / sub, rng, BODY).bracket(make_scene(rng), THREE)
    names = [b.name for b in find_brackets([tmp_path]).brackets]
    assert names == [
        "hut/IMG_0001-0003",
        *(f"villa/{s}/IMG_0001-0003" for s in ("ground floor", "roof")),
    ]
    two = find_brackets([tmp_path / "villa", tmp_path / "hut"])
    assert sorted(b.name for b in two.brackets) == names
    below = find_brackets([tmp_path / "villa"])
    assert [b.name for b in below.brackets] == [n.removeprefix("villa/") for n in names[1:]]
    assert len(find_brackets([tmp_path], FindOptions(exclude=tmp_path / "hut")).brackets) == 2


def test_a_bracket_across_two_folders_of_a_card(tmp_path: Path, rng: Rng) -> None:
    card = Card(tmp_path / "100CANON", rng, BODY, counter=9997)
    for _ in range(3):
        card.bracket(make_scene(rng), THREE)
    (tmp_path / "101CANON").mkdir()
    for path in (tmp_path / "100CANON").glob("IMG_000*"):
        path.rename(tmp_path / "101CANON" / path.name)
    plan = find_brackets([tmp_path])
    assert len(plan.brackets) == 3 and not plan.singles
    found = {frozenset(f.rpartition("/")[2] for f in b.files) for b in plan.brackets}
    assert found == {frozenset(b) for b in card.truth.brackets}


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a folder"):
        find_brackets([tmp_path / "file"])
    with pytest.raises(InputError, match="does not exist"):
        find_brackets([tmp_path / "absent"])
    with pytest.raises(UsageError, match="2 to 99"):
        find_brackets([tmp_path], FindOptions(frames=1))
    assert find_brackets([tmp_path]) == Plan(str(tmp_path))


@pytest.mark.skipif(not (SHARED / "data" / "stacks").is_dir(), reason="no real brackets here")
def test_real_brackets_mixed_in_one_folder(tmp_path: Path) -> None:
    expected = set()
    for k, folder in enumerate(sorted((SHARED / "data" / "stacks").iterdir())):
        names = []
        frames = [p for p in sorted(folder.iterdir()) if p.suffix.lower() not in (".json", ".txt")]
        for m, path in enumerate(frames):
            names.append(f"p{(7919 * (20 * k + m)) % 10_007:05d}{path.suffix.lower()}")
            (tmp_path / names[-1]).symlink_to(path)
        expected.add(tuple(sorted(names)))
    plan = find_brackets([tmp_path])
    assert brackets(plan) == expected
    assert not plan.singles
    minutes_apart = [b for b in plan.doubtful if b.files[0].endswith(".jpeg")]  # St Louis
    assert len(plan.doubtful) == len(minutes_apart)
