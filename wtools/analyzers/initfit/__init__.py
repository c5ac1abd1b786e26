"""Does a model still look freshly initialized, and as what?

laws, fans, candidates: what the frameworks draw, as data and formulas
sample, fit, structure, exact: how well that fits, from a sketch and where needed the elements
judge: one tensor's verdict; report: the model's, with advice and the signal's way through it
"""

from .report import InitRow, initfit

__all__ = ["InitRow", "initfit"]
