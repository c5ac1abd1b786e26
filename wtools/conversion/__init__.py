"""From any format to any other: plan, translate (see `wtools.translation`), write, verify.

convert("model.h5", "model.safetensors", dtype="bfloat16")
"""

from __future__ import annotations

from .bits import verify_bits
from .options import Options
from .plan import Plan, plan
from .run import convert, execute, prepare, preview

__all__ = ["Options", "Plan", "convert", "execute", "plan", "prepare", "preview", "verify_bits"]
