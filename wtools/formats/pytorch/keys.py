"""Which values of a pickle may be dict keys, so that hashing them is cheap.

A tuple's hash walks it anew each time, and the hashes of numbers and of tuples of numbers are
easy to make collide: with both a small pickle could keep a dict busy for hours.
"""

from __future__ import annotations

from typing import Any

from .values import FileBytes, Global, Object, OddKey, Refused, TensorValue

_IDENTITIES = (
    Global,
    Object,
    OddKey,
    Refused,
    TensorValue,
)  # hashed as what they are, not by content

_SIMPLE = (str, bytes, int, float, complex, FileBytes)
_MOST_NODES = 64  # values inside one key
_MOST_ODD = 2_000  # keys whose hashes a file can choose; later ones are not compared
_SMALL = 1 << 60  # integers below this are their own hash


class Keys:
    """The keys of one pickle."""

    def __init__(self) -> None:
        self._odd = 0

    def of(self, value: Any) -> Any:
        """`value` as a key. Raises Refused for what cannot be one."""
        kind = value.__class__
        if kind is str or kind is bytes or value is None or isinstance(value, _IDENTITIES):
            return value
        if isinstance(value, int) and -_SMALL < value < _SMALL:
            return value
        _check(value)
        self._odd += 1
        return value if self._odd <= _MOST_ODD else OddKey(value)


def _check(value: Any) -> None:
    """Raise Refused unless `value` is hashable by walking at most _MOST_NODES values."""
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen + len(pending) > _MOST_NODES:
            raise Refused(f"a key of more than {_MOST_NODES} parts")
        if isinstance(item, tuple | frozenset):
            if len(item) > _MOST_NODES:
                raise Refused(f"a key of more than {_MOST_NODES} parts")
            pending.extend(item)
        elif item is not None and not isinstance(item, _SIMPLE + _IDENTITIES):
            raise Refused(f"a {type(item).__name__} is used as a key")
