"""Proof that two models compute the same: both are run by their own frameworks and compared.

inputs      what both are given: seeded, of several batch sizes and lengths
compare     how far two arrays are apart, whatever the order of their axes
layers      the first layer where they part
causes      what is likely to be wrong there: hypotheses that are computed and compared
reference   the layers themselves in NumPy, for the hypotheses
run         `verify`, all of it
"""

from __future__ import annotations

from .run import verify

__all__ = ["verify"]
