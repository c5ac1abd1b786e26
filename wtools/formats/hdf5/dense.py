"""Dense storage: objects in a fractal heap, listed by a version 2 B-tree (III.A.2, III.G).

Files written with libver="latest" or track_order=True keep many links or attributes so. Managed
objects in direct blocks, tiny ones in their own identifiers and huge ones with a B-tree of their
own are read; filtered heaps are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .cursor import UNDEFINED, Cursor, Image

LEAST = 128  # bytes of a fractal heap's smallest blocks; HDF5 makes them 512 or 1,024


def items(image: Image, heap: int, tree: int, *, kind: int, skip: int) -> Iterator[Cursor]:
    """The objects whose heap identifiers stand `skip` bytes into each record of the B-tree."""
    store = _heap(image, heap)
    for record in records(image, tree, kind):
        yield store.object(record[skip : skip + store.id_length])


def records(image: Image, address: int, kind: int) -> Iterator[bytes]:
    """All records of a version 2 B-tree, in order (section III.A.2)."""
    c = image.cursor(address, 38)
    c.expect(b"BTHD\0")
    found, node, width, depth = c.u8(), c.u32(), c.u16(), c.u16()
    c.skip(2)
    root, count, total = c.u64(), c.u16(), c.u64()
    if found != kind or not width or depth > 16 or node < 16:
        raise image.corrupt(f"a B-tree of kind {found}", f"byte {address}")
    if total * width > image.size:
        raise image.corrupt(f"{total} records in a B-tree", f"byte {address}")
    if root == UNDEFINED:
        return
    # widths of the counts in each level's pointers: as many bytes as the largest count needs
    most = [(node - 10) // width]
    pointer = [0]
    all_below = [most[0]]
    for level in range(1, depth + 1):
        own = 8 + _bytes(most[level - 1]) + (_bytes(all_below[level - 1]) if level > 1 else 0)
        pointer.append(own)
        most.append(max(0, (node - 10 - own)) // (width + own))
        all_below.append((most[level] + 1) * all_below[level - 1] + most[level])
    every = _node(image, root, count, depth, kind, width, most, all_below)
    for number, record in enumerate(every):
        if number == total:
            raise image.corrupt(f"more than its {total} records in a B-tree", f"byte {address}")
        yield record


def _bytes(most: int) -> int:
    return max(1, (most.bit_length() + 7) // 8)


def _node(
    image: Image,
    address: int,
    count: int,
    depth: int,
    kind: int,
    width: int,
    most: list[int],
    all_below: list[int],
) -> Iterator[bytes]:
    head = image.cursor(address, 6)
    head.expect(b"BTIN\0" if depth else b"BTLF\0")
    if head.u8() != kind:
        raise image.corrupt("a B-tree node of the wrong kind", f"byte {address}")
    count_width = _bytes(most[depth - 1]) if depth else 0
    below_width = _bytes(all_below[depth - 1]) if depth > 1 else 0
    pointers = (count + 1) * (8 + count_width + below_width) if depth else 0
    c = image.cursor(address + 6, count * width + pointers)
    own = [c.take(width) for _ in range(count)]
    if not depth:
        yield from own
        return
    for i in range(count + 1):
        child, number = c.u64(), c.uint(count_width)
        c.skip(below_width)
        yield from _node(image, child, number, depth - 1, kind, width, most, all_below)
        yield from own[i : i + 1]


@dataclass(frozen=True)
class _Heap:
    """A fractal heap: a table of blocks that double in size (section III.G)."""

    image: Image
    id_length: int
    offset_width: int
    length_width: int
    blocks: list[tuple[int, int, int]]  # (first heap offset, address, bytes) of direct blocks
    huge_tree: int

    def object(self, identifier: bytes) -> Cursor:
        c = Cursor(self.image, identifier, 0)
        flags = c.u8()
        kind = flags >> 4 & 3
        if kind == 2:  # the object is the identifier
            extended = self.id_length > 18
            return c.part((((flags & 15) << 8 | c.u8()) if extended else flags & 15) + 1)
        if kind == 1:
            return self._huge(c.uint(min(8, c.left)))
        offset, length = c.uint(self.offset_width), c.uint(self.length_width)
        for first, address, nbytes in self.blocks:
            if first <= offset and offset + length <= first + nbytes:
                return self.image.cursor(address + offset - first, length)
        raise self.image.corrupt("an object outside its heap", f"heap offset {offset}")

    def _huge(self, number: int) -> Cursor:
        """An object too large for the blocks, by its number in a B-tree of kind 1."""
        if self.huge_tree != UNDEFINED:
            for record in records(self.image, self.huge_tree, kind=1):
                address, length, own = (
                    int.from_bytes(record[i : i + 8], "little") for i in (0, 8, 16)
                )
                if own == number:
                    return self.image.cursor(address, length)
        raise self.image.corrupt("an object that is not in its heap", f"huge object {number}")


def _heap(image: Image, address: int) -> _Heap:
    c = image.cursor(address, 146)
    c.expect(b"FRHP\0")
    id_length, filters, _, managed = c.u16(), c.u16(), c.u8(), c.u32()
    c.skip(8)
    huge = c.u64()
    c.skip(8 * 10)
    width, start, direct, heap_bits = c.u16(), c.u64(), c.u64(), c.u16()
    c.skip(2)
    root, rows = c.u64(), c.u16()
    if filters:
        raise image.unsupported("a filtered fractal heap", f"byte {address}")
    if not (width and start >= LEAST and direct >= start) or heap_bits > 64:
        raise image.corrupt("a fractal heap without blocks", f"byte {address}")
    offset_width = (heap_bits + 7) // 8
    length_width = min((direct.bit_length() + 6) // 8, (managed.bit_length() + 7) // 8)
    blocks: list[tuple[int, int, int]] = []
    if rows == 0:
        blocks.append((0, root, start))
    elif root != UNDEFINED:
        shape = (width, start, direct, 5 + 8 + offset_width)
        _indirect(image, root, rows, 0, shape, blocks, 0)
    return _Heap(image, id_length, offset_width, length_width, blocks, huge)


def _indirect(
    image: Image,
    address: int,
    rows: int,
    offset: int,
    shape: tuple[int, int, int, int],
    blocks: list[tuple[int, int, int]],
    depth: int,
) -> None:
    """Append the direct blocks that the indirect block at `address` leads to."""
    width, start, direct, head = shape
    if rows > 64 or depth > 8:
        raise image.corrupt("a fractal heap nested without end", f"byte {address}")
    c = image.cursor(address, head + 8 * rows * width)
    c.expect(b"FHIB\0")
    c.at = head
    for row in range(rows):
        nbytes = start << max(0, row - 1)
        for _ in range(width):
            child = c.u64()
            if child != UNDEFINED and nbytes <= direct:
                blocks.append((offset, child, nbytes))
                if len(blocks) * start > image.size:
                    raise image.corrupt("a fractal heap larger than the file", f"byte {address}")
            elif child != UNDEFINED:
                below = (nbytes // (start * width)).bit_length()
                _indirect(image, child, below, offset, shape, blocks, depth + 1)
            offset += nbytes
