"""Brackets of a known scene, with the truth beside them: tests, training and the demo use it."""

from hdrmerge.simulate.bracket import SimulatedBracket, SimulationConfig, render_bracket
from hdrmerge.simulate.motion import MotionConfig

__all__ = ["MotionConfig", "SimulatedBracket", "SimulationConfig", "render_bracket"]
