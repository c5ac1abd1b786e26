"""Axes as text: the way from one description to another is numpy's own, and exact both ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtools.errors import UsageError
from wtools.layouts import permutation, rearrange, reorder_gates, sizes


def test_single_letters_are_a_transpose() -> None:
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert permutation("h w i o", "o i h w") == (3, 2, 0, 1)
    wanted = np.einsum("hwio->oihw", kernel)
    assert np.array_equal(rearrange(kernel, "h w i o", "o i h w"), wanted)


def test_a_depthwise_kernel_becomes_grouped_output_channels() -> None:
    kernel = np.arange(3 * 3 * 4 * 2).reshape(3, 3, 4, 2)
    torch_kernel = rearrange(kernel, "h w i m", "(i m) 1 h w")
    assert torch_kernel.shape == (8, 1, 3, 3)
    for channel in range(4):
        for m in range(2):
            assert np.array_equal(torch_kernel[channel * 2 + m, 0], kernel[:, :, channel, m])


def test_a_fused_axis_needs_one_size() -> None:
    fused = np.arange(12 * 4).reshape(12, 4)
    with pytest.raises(UsageError, match="not known"):
        rearrange(fused, "(H e) D", "D H e")
    apart = rearrange(fused, "(H e) D", "D H e", {"H": 3})
    assert apart.shape == (4, 3, 4)
    assert np.array_equal(apart, fused.reshape(3, 4, 4).transpose(2, 0, 1))


def test_sizes_come_from_the_shape() -> None:
    assert sizes("(g u) i", (12, 5), g=4) == {"g": 4, "u": 3, "i": 5}
    assert sizes("", ()) == {}
    with pytest.raises(UsageError, match="do not fit"):
        sizes("o i", (3, 4, 5))
    with pytest.raises(UsageError, match="do not fit"):
        sizes("(g u) i", (10, 5), g=4)
    with pytest.raises(UsageError, match="do not fit"):
        sizes("i 1", (4, 2))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="same axes"):
        permutation("o i", "o j")
    with pytest.raises(UsageError, match="named twice"):
        permutation("o o", "o o")
    with pytest.raises(UsageError, match="not a description"):
        permutation("o (i", "i o")


def test_gates_change_places() -> None:
    gates = np.arange(4)[:, None] * np.ones((4, 3), int)
    assert reorder_gates(gates, 0, "i f c o", "i o f c")[:, 0].tolist() == [0, 3, 1, 2]
    with pytest.raises(UsageError, match="cannot become"):
        reorder_gates(gates, 0, "i f c o", "z r h")
    with pytest.raises(UsageError, match="cannot become"):
        reorder_gates(gates[:3], 0, "i f c o", "i o f c")


@st.composite
def descriptions(draw: st.DrawFn) -> tuple[str, str, dict[str, int]]:
    """Two ways to lay out the same letters, and their sizes."""
    letters = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True))
    found = []
    for _ in range(2):
        order = draw(st.permutations(letters))
        groups: list[list[str]] = []
        for letter in order:
            if groups and draw(st.booleans()):
                groups[-1].append(letter)
            else:
                groups.append([letter])
        texts = [group[0] if len(group) == 1 else f"({' '.join(group)})" for group in groups]
        if draw(st.booleans()):
            texts.insert(draw(st.integers(0, len(texts))), "1")
        found.append(" ".join(texts))
    lengths = {letter: draw(st.integers(1, 4)) for letter in letters}
    return found[0], found[1], lengths


@given(descriptions())
def test_going_back_is_exact(case: tuple[str, str, dict[str, int]]) -> None:
    source, target, lengths = case
    total = int(np.prod(list(lengths.values())))
    letters = "".join(c for c in source if c in lengths)
    plain = np.arange(total).reshape([lengths[c] for c in letters])
    start = rearrange(plain, " ".join(letters), source, lengths)
    there = rearrange(start, source, target, lengths)
    final = "".join(c for c in target if c in lengths)
    assert np.array_equal(there.reshape(-1), np.einsum(f"{letters}->{final}", plain).reshape(-1))
    assert np.array_equal(rearrange(there, target, source, lengths), start)
