"""Linear models of scikit-learn as graphs: scalers, one product, and what is made of the scores.

linear    which estimators these are, and what they compute, told once for all targets
onnx      that in operators of ai.onnx
torch     that as the source of a module
"""

from __future__ import annotations

from .linear import Linear, Scaler, linear

__all__ = ["Linear", "Scaler", "linear"]
