"""The links of a group: symbol tables (III.A, III.B, III.D), link messages, dense storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import dense
from .cursor import UNDEFINED, Cursor, Image
from .objects import LINK, LINK_INFO, SYMBOLS, Message

Kind = Literal["hard", "soft", "external"]


@dataclass(frozen=True)
class Link:
    """A name in a group. `address` is the object's header; only hard links have one."""

    name: str
    kind: Kind
    address: int = UNDEFINED


def links(image: Image, messages: list[Message]) -> Iterator[Link]:
    """The links that a group's header messages tell of, in stored order."""
    for message in messages:
        c = message.cursor(image)
        if message.kind == SYMBOLS:
            yield from _symbol_table(image, c.u64(), c.u64())
        elif message.kind == LINK:
            yield _link(c)
        elif message.kind == LINK_INFO:
            yield from _dense_links(image, c)


def is_group(messages: list[Message]) -> bool:
    return any(m.kind in (SYMBOLS, LINK, LINK_INFO) for m in messages)


def _symbol_table(image: Image, tree: int, heap: int) -> Iterator[Link]:
    c = image.cursor(heap, 32)
    c.expect(b"HEAP\0")
    c.skip(3)
    size, _, address = c.u64(), c.u64(), c.u64()
    names = image.read(address, size)
    for node in btree_leaves(image, tree, kind=0, key=8):
        for child in node:
            yield from _symbols(image, child, names)


def btree_leaves(image: Image, address: int, kind: int, key: int) -> Iterator[list[int]]:
    """Child addresses of each leaf of a version 1 B-tree whose keys take `key` bytes."""
    for _, children in btree_nodes(image, address, kind, key):
        yield children


def btree_nodes(
    image: Image, address: int, kind: int, key: int
) -> Iterator[tuple[bytes, list[int]]]:
    """(all bytes of keys and children, child addresses) of each leaf (section III.A.1)."""
    stack, seen = [(address, -1)], set()
    while stack:
        at, expected = stack.pop()
        if at in seen:
            raise image.corrupt("a B-tree leads back to itself", f"byte {at}")
        seen.add(at)
        c = image.cursor(at, 24)
        c.expect(b"TREE")
        found, level, count = c.u8(), c.u8(), c.u16()
        if found != kind or (expected >= 0 and level != expected) or level > 16:
            raise image.corrupt("a B-tree node of the wrong kind", f"byte {at}")
        body = image.read(at + 24, count * (key + 8) + key)
        step = key + 8
        starts = range(key, count * step, step)
        children = [int.from_bytes(body[i : i + 8], "little") for i in starts]
        if level:
            stack += [(child, level - 1) for child in reversed(children)]
        else:
            yield body, children


def _symbols(image: Image, address: int, names: bytes) -> Iterator[Link]:
    head = image.cursor(address, 8)
    head.expect(b"SNOD\x01")
    head.skip(1)
    c = image.cursor(address + 8, head.u16() * 40)
    while c.left:
        name, header, cached = c.u64(), c.u64(), c.u32()
        c.skip(20)
        end = names.find(b"\0", name)
        if end < 0 or name >= len(names):
            raise image.corrupt("a name outside its heap", f"byte {address}")
        image.spend(end - name)
        text = names[name:end].decode("utf-8", "surrogateescape")
        yield Link(text, "soft") if cached == 2 else Link(text, "hard", header)


def _link(c: Cursor) -> Link:
    """A link message (section IV.A.2.g)."""
    version, flags = c.u8(), c.u8()
    if version != 1:
        raise c.image.corrupt(f"link of version {version}", f"byte {c.address}")
    kind = c.u8() if flags & 8 else 0
    c.skip((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    name = c.take(c.uint(1 << (flags & 3))).decode("utf-8", "surrogateescape")
    if kind == 0:
        return Link(name, "hard", c.u64())
    return Link(name, "soft" if kind == 1 else "external")


def _dense_links(image: Image, c: Cursor) -> Iterator[Link]:
    """Links kept in a fractal heap, found through the B-tree of their names."""
    c.skip(1)
    flags = c.u8()
    c.skip(8 if flags & 1 else 0)
    heap, names = c.u64(), c.u64()
    if heap == UNDEFINED:
        return
    for item in dense.items(image, heap, names, kind=5, skip=4):
        yield _link(item)
