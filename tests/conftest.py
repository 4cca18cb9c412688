"""Hypothesis tests behaviour here, never time: a machine that does something else beside is no failure."""

from hypothesis import settings

settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")
