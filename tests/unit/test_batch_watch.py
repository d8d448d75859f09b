"""Watching a folder: what is complete, and when."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from batch_tools import InlinePool, run, statuses, write_brackets

from hdrmerge.batch.plan import FindOptions, Plan
from hdrmerge.batch.watch import Folder


class Camera:
    """Puts the frames of brackets into a folder; time passes only when it is told to."""

    def __init__(self, tmp_path: Path, frames: int | None = None) -> None:
        self.plan = write_brackets(tmp_path / "shot", 3)
        self.folder = tmp_path / "in"
        self.folder.mkdir()
        self.out = self.folder / "out"
        self.now = 0.0
        self.watched = Folder(
            self.folder, FindOptions(frames=frames, exclude=self.out), 5.0, clock=lambda: self.now
        )

    def fire(self, bracket: int, frame: int, *, part: float = 1.0) -> Path:
        source = self.plan.paths(self.plan.brackets[bracket])[frame]
        data = source.read_bytes()
        target = self.folder / f"DSC_{10 * bracket + frame:04}.jpg"
        target.write_bytes(data[: int(len(data) * part)])
        return target

    def look(self, seconds: float = 1.0) -> list[tuple[str, ...]] | None:
        """What is found complete after some seconds, merged at once."""
        self.now += seconds
        plan = self.watched.look()
        if plan is None:
            return None
        self.merge(plan)
        return [bracket.files for bracket in plan.brackets]

    def merge(self, plan: Plan) -> list[str]:
        summary = run(plan, self.out, InlinePool())
        self.watched.remember(plan, summary)
        return statuses(summary)


def names(*numbers: int) -> tuple[str, ...]:
    return tuple(f"DSC_{number:04}.jpg" for number in numbers)


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    return Camera(tmp_path)


def test_a_bracket_is_merged_when_nothing_more_comes(camera: Camera) -> None:
    assert camera.look() is None
    for frame in range(3):
        camera.fire(0, frame)
        assert camera.look() is None
    assert camera.look() is None  # complete files, but perhaps not all of them
    assert camera.look(3.9) is None
    assert camera.look() == [names(0, 1, 2)]
    assert camera.look(99) is None
    assert (camera.out / "DSC_0000-0002.exr").exists()


def test_a_file_that_grows_is_waited_for(camera: Camera) -> None:
    for frame in range(2):
        camera.fire(0, frame)
    for part in (0.3, 0.6, 0.9):
        camera.fire(0, 2, part=part)
        assert camera.look(9.0) is None
    camera.fire(0, 2)
    assert camera.look() is None
    assert camera.look(9.0) == [names(0, 1, 2)]


def test_the_next_bracket_ends_the_one_before(camera: Camera) -> None:
    for frame in range(3):
        camera.fire(0, frame)
        camera.look(0.1)
    found = []
    for frame in range(3):
        camera.fire(1, frame)
        found.append(camera.look(0.1))
    found.append(camera.look(0.1))
    assert [plan for plan in found if plan] == [[names(0, 1, 2)]]
    assert camera.look(6.0) == [names(0, 1, 2), names(10, 11, 12)]


def test_a_known_count_is_not_waited_for(tmp_path: Path) -> None:
    camera = Camera(tmp_path, frames=3)
    for frame in range(3):
        camera.fire(0, frame)
    assert camera.look() is None  # they may still grow
    assert camera.look() == [names(0, 1, 2)]


def test_failures_wait_for_another_file(tmp_path: Path) -> None:
    camera = Camera(tmp_path, frames=3)
    for frame in range(2):
        camera.fire(0, frame)
    broken = camera.fire(0, 2, part=0.7)
    camera.look()
    camera.now += 1
    plan = camera.watched.look()
    assert plan is not None
    assert camera.merge(plan) == ["failed"]
    assert camera.watched.failed == ["DSC_0000-0002"]
    assert camera.look(99) is None
    shutil.copy(camera.plan.paths(camera.plan.brackets[0])[2], broken)
    assert camera.look() is None
    assert camera.look() == [names(0, 1, 2)]
    assert camera.watched.failed == []


def test_nothing_is_searched_while_nothing_happens(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frame in range(3):
        camera.fire(0, frame)
    camera.look()
    assert camera.look(9.0) is not None

    def fail(*_: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr("hdrmerge.batch.watch.find_brackets", fail)
    for _ in range(5):
        assert camera.look(9.0) is None
