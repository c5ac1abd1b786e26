"""How each framework stores a layer: names, axes, gate orders. Data, and the little it needs.

A convention is a table kind -> Layout in `keras`, `torch` and `onnx`. Canonical kinds and roles
are in the middle: a translation goes source -> canonical -> target, so that n frameworks need n
tables and not n x n converters.

Axes letters: i input, o output channels (per group: i is input / groups, and for a transposed
convolution o is output / groups), k or d h w spatial, m depth multiplier, c channels, V
vocabulary or positions, D model width, H heads, e width of a head, u units, g gates,
p query/key/value, b the two biases of a gate, n directions, r rank. See `axes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .axes import permutation, rearrange, reorder_gates, sizes

__all__ = ["Layout", "Stored", "permutation", "rearrange", "reorder_gates", "sizes"]


@dataclass(frozen=True)
class Stored:
    """One stored tensor of a layer.

    names: its spellings after the layer's path; the first is what is written.
    axes: see `axes.py`; "" for a scalar, "*" where it follows the layer's input or equation.
    holds: the canonical roles that lie in it one after the other along axis `along`.
    optional: the layer may be without it.
    """

    names: tuple[str, ...]
    axes: str
    holds: tuple[str, ...] = ()
    along: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Layout:
    """How a framework stores a layer of one kind.

    classes: what the framework calls it; the first is the usual one.
    roles: canonical role (or the name of what holds several) -> how it is stored.
    gates: the order of a recurrent layer's gates, canonical letters: i f c o, or z r h.
    defaults: behaviour that no weight shows (`epsilon`, `momentum`).
    """

    classes: tuple[str, ...]
    roles: Mapping[str, Stored]
    gates: str = ""
    defaults: Mapping[str, float] = field(default_factory=dict)

    def role_of(self, name: str) -> str:
        """The role of a stored name, "" if it has none."""
        return next((r for r, stored in self.roles.items() if name in stored.names), "")
