"""Which tensor of one tree stands for which of another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import WtoolsError
from ..threads import in_order
from ..tree import Tensor, WeightTree, tie_key


@dataclass(frozen=True)
class Pairs:
    """Tensors of A beside theirs of B, and those without a partner.

    prefix: what the names of one side have in front of those of the other ("module."), else "".
    """

    matched: Sequence[tuple[Tensor, Tensor]]
    only_a: Sequence[Tensor]
    only_b: Sequence[Tensor]
    prefix: str = ""


def pairs(a: WeightTree, b: WeightTree) -> Pairs:
    """Matched by name; names of other formats with their separators made equal.

    Where that leaves tensors on both sides, one prefix that the names of one side share is taken
    off, if that pairs at least half of what is left on the shorter side.
    """
    left, right = _keyed(a), _keyed(b)
    prefix = ""
    shared = left.keys() & right.keys()
    if len(shared) < min(len(left), len(right)):
        lone_a = [key for key in left if key not in shared]
        lone_b = [key for key in right if key not in shared]
        prefix = _prefix(lone_a, lone_b)
        for lone, other, side in ((lone_a, right, left), (lone_b, left, right)):
            for key in lone if prefix else ():
                bare = key.removeprefix(prefix)
                if bare != key and bare in other and bare not in shared and bare not in side:
                    side[bare] = side.pop(key)
    matched = [(t, right[key]) for key, t in _in_order(left, a) if key in right]
    return Pairs(
        matched,
        [t for key, t in _in_order(left, a) if key not in right],
        [t for key, t in _in_order(right, b) if key not in left],
        prefix.replace("/", a.separator or "/"),
    )


def _keyed(tree: WeightTree) -> dict[str, Tensor]:
    """The tensors by name with "/" as separator; by the name itself where that is not unique."""
    keys = {name: name.replace(tree.separator, "/") if tree.separator else name for name in tree}
    count = Counter(keys.values())
    return {key if count[key] == 1 else name: tree[name] for name, key in keys.items()}


def _in_order(keyed: Mapping[str, Tensor], tree: WeightTree) -> Iterator[tuple[str, Tensor]]:
    key_of = {tensor.name: key for key, tensor in keyed.items()}
    return ((key_of[name], tensor) for name, tensor in tree.items())


def _prefix(a: Sequence[str], b: Sequence[str]) -> str:
    """The prefix that, taken off the names of one side, pairs the most; "" if it pairs few."""
    counts: Counter[str] = Counter()
    for here, there in ((a, set(b)), (b, set(a))):
        for name in here:
            at = name.find("/")
            while at >= 0:
                if name[at + 1 :] in there:
                    counts[name[: at + 1]] += 1
                at = name.find("/", at + 1)
    best, paired = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return best if paired * 2 >= min(len(a), len(b)) else ""


def renamed(
    only_a: Sequence[Tensor], only_b: Sequence[Tensor], *, threads: int | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of the same dtype, shape and content among tensors without a partner by name.

    Only tensors whose dtype and shape occur on both sides are read, and of these nothing but a
    digest is kept. Among equals (zero biases) those whose names end most alike are paired. A
    tensor that cannot be read is left alone.
    """
    kinds = {_kind(t) for t in only_a if t.size} & {_kind(t) for t in only_b}
    left = _by_content((t for t in only_a if _kind(t) in kinds), threads)
    right = _by_content((t for t in only_b if _kind(t) in kinds), threads)
    found = []
    for content, here in left.items():
        there = list(right.get(content, ()))
        for tensor in here:
            if there:
                best = max(there, key=lambda other: _common_end(tensor.name, other.name))
                there.remove(best)
                found.append((tensor, best))
    return found


def _kind(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tensor.shape


def _common_end(a: str, b: str) -> int:
    """How many characters two names share, counted from their ends."""
    shared = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        shared += 1
    return shared


def _by_content(tensors: Iterable[Tensor], threads: int | None) -> dict[object, list[Tensor]]:
    groups: dict[object, list[Tensor]] = {}
    for tensor, found in digests(list(tensors), threads=threads):
        if isinstance(found, bytes):
            groups.setdefault((*_kind(tensor), found), []).append(tensor)
    return groups


def digests(
    tensors: Sequence[Tensor], *, threads: int | None = None
) -> Iterator[tuple[Tensor, bytes | WtoolsError]]:
    """Each tensor with a cryptographic digest of its bytes, tied ones read once."""
    distinct = list({tie_key(tensor): tensor for tensor in tensors}.values())
    found = dict(zip(map(tie_key, distinct), in_order(digest, distinct, threads), strict=True))
    return ((tensor, found[tie_key(tensor)]) for tensor in tensors)


def digest(tensor: Tensor) -> bytes | WtoolsError:
    """BLAKE2b of the tensor's packed little-endian bytes, or why they cannot be read."""
    state = hashlib.blake2b(digest_size=16)
    try:
        for block in tensor.packed_blocks():
            state.update(block.data)
    except WtoolsError as error:
        return error
    return state.digest()
