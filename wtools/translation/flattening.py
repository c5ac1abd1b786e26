"""Letters that come and go: the image before a Flatten, axes of size one.

A dense kernel after a Flatten has a row for each place of an image. Channels last, as Keras
has images, the rows run over (h w c); channels first, as torch and ONNX have them, over (c h w).
The letters of that image are written fd fh fw fk and fc.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import UsageError
from .pieces import Piece, flat

_SPATIAL = {1: ("fk",), 2: ("fh", "fw"), 3: ("fd", "fh", "fw")}


def order_of(convention: str) -> str:
    return "channels last" if convention == "keras" else "channels first"


def image_axes(letters: Sequence[str], convention: str) -> str:
    """The fused axis over an image with these letters, "(fc fh fw)" in torch."""
    spatial = next(own for own in _SPATIAL.values() if {*own, "fc"} == set(letters))
    order = (*spatial, "fc") if convention == "keras" else ("fc", *spatial)
    return f"({' '.join(order)})"


def flattened(
    axes: str, size: Mapping[str, int], image: Sequence[int], convention: str, path: str
) -> tuple[str, dict[str, int]]:
    """Axes and sizes with the image's letters in place of i (or c, of a norm between the two).

    image: its shape, channels last. Raises UsageError where it has not as many elements.
    """
    letter = "i" if "i" in flat(axes) else "c"
    if len(image) - 1 not in _SPATIAL or math.prod(image) != size[letter]:
        raise UsageError(f"{path!r} takes {size[letter]} values, not {' x '.join(map(str, image))}")
    letters = (*_SPATIAL[len(image) - 1], "fc")
    words = axes.split()
    words[words.index(letter)] = image_axes(letters, convention)
    return " ".join(words), {**size, **dict(zip(letters, image, strict=True))}


def aligned(piece: Piece, axes: str, to: str) -> tuple[Piece, str]:
    """The piece and the axes wanted, over the same letters: one of size one may come or go.

    A PReLU's alpha of shape (1, 1, c) is torch's (c); a bias of shape (1, o) is (o). A stack of
    matrices, one for each first index x, keeps it. An image before a Flatten is in the order of
    the convention `to`.
    """
    here, there = set(piece.letters), set(flat(axes))
    image = [name for name in here - there if name in ("fd", "fh", "fw", "fk", "fc")]
    if image:
        letter = "i" if "i" in there else "c"
        axes = _put(axes, letter, image_axes(image, to))
        there = set(flat(axes))
    if "x" in here - there:
        axes, there = f"x {axes}", there | {"x"}
    words = piece.axes
    for name in here - there:
        if piece.sizes.get(name) == 1:
            words = _put(words, name, "1")
    for name in there - here:
        axes = _put(axes, name, "1")
    return (replace(piece, axes=words) if words != piece.axes else piece), axes


def shown(axes: str) -> str:
    """Axes for people: the letters of an image as those of any other."""
    return " ".join(axes.replace("(f", "(").replace(" f", " ").split()) or "scalar"


def _put(axes: str, letter: str, other: str) -> str:
    """Axes with another word in place of a letter."""
    apart = axes.replace("(", "( ").replace(")", " )").split()
    text = " ".join(other if word == letter else word for word in apart)
    return text.replace("( ", "(").replace(" )", ")")
