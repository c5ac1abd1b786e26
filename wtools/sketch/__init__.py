"""One-pass statistics: moments and a bit histogram of any numbers, which add up.

>>> import numpy as np
>>> from wtools.sketch import sketch
>>> left, right = sketch(np.float32([1, 2, 3])), sketch(np.float32([4, np.inf]))
>>> whole = left + right
>>> whole.count, whole.pos_infs, whole.mean, whole.max
(5, 1, 2.5, 4.0)
"""

from .cores import core
from .model import Histogram, Sketch
from .runner import sketch, sketches

__all__ = ["Histogram", "Sketch", "core", "sketch", "sketches"]
