"""Object headers and their messages (sections IV.A.1 and IV.A.2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from .cursor import Cursor, Image
from .types import Type, datatype

SPACE, LINK_INFO, TYPE, OLD_FILL, FILL, LINK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, CONTINUED = 0x07, 0x08, 0x0B, 0x0C, 0x10
SYMBOLS, ATTRIBUTE_INFO = 0x11, 0x15
MAX_MESSAGES = 1 << 16  # what version 1 can count to
_KNOWN_FLAGS = 0x3F
_SHARED = 0x02


@dataclass(frozen=True)
class Message:
    """One header message. `shared`: its body only says where the real one is."""

    kind: int
    body: bytes
    address: int
    shared: bool

    def cursor(self, image: Image) -> Cursor:
        return Cursor(image, self.body, self.address)


def messages(image: Image, address: int) -> list[Message]:
    """All messages of the object header at `address`, continuations followed."""
    version = _version2 if image.read(address, 4) == b"OHDR" else _version1
    found = list(itertools.islice(version(image, address), MAX_MESSAGES + 1))
    if len(found) > MAX_MESSAGES:
        raise image.unsafe(f"a header of more than {MAX_MESSAGES} messages", f"byte {address}")
    return found


def _version1(image: Image, address: int) -> Iterator[Message]:
    head = image.cursor(address, 16)
    version, _, count, _, nbytes = head.u8(), head.u8(), head.u16(), head.u32(), head.u32()
    if version != 1:
        raise image.corrupt("no object header here", f"byte {address}")
    blocks = [(address + 16, nbytes)]
    while blocks and count > 0:
        c = image.cursor(*blocks.pop(0))
        while c.left >= 8 and count > 0:
            kind, size, flags = c.u16(), c.u16(), c.u8()
            c.skip(3)
            body = c.part(size)
            count -= 1
            if kind == CONTINUED:
                blocks.append((body.u64(), body.u64()))
            else:
                yield Message(kind, body.data, body.address, bool(flags & _SHARED))


def _version2(image: Image, address: int) -> Iterator[Message]:
    c = image.cursor(address, 6)
    c.expect(b"OHDR\x02")
    flags = c.u8()
    if flags & ~_KNOWN_FLAGS:
        raise image.corrupt(f"object header with flags {flags:#x}", f"byte {address}")
    width = 1 << (flags & 3)
    extra = (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    start = address + 6 + extra
    nbytes = int.from_bytes(image.read(start, width), "little")
    image.verify(address, 6 + extra + width + nbytes + 4)
    blocks = [(start + width, nbytes)]
    seen = set()
    while blocks:
        block = blocks.pop(0)
        if block in seen:
            raise image.corrupt("a header continues in itself", f"byte {address}")
        seen.add(block)
        c = image.cursor(*block)
        while c.left >= (6 if flags & 4 else 4):
            kind, size, mark = c.u8(), c.u16(), c.u8()
            c.skip(2 if flags & 4 else 0)
            body = c.part(size)
            if kind == CONTINUED:
                where, length = body.u64(), body.u64()
                image.cursor(where, 4).expect(b"OCHK")
                image.verify(where, length)
                blocks.append((where + 4, length - 8))
            else:
                yield Message(kind, body.data, body.address, bool(mark & _SHARED))


def type_of(image: Image, message: Message) -> Type:
    """The datatype of a message, which may refer to a committed one elsewhere."""
    if message.shared:
        return shared_type(image, message.cursor(image))
    return datatype(message.cursor(image))


def shared_type(image: Image, c: Cursor) -> Type:
    """The committed datatype that a shared message points at (section IV.A.2, "Shared")."""
    version, kind = c.u8(), c.u8()
    if version == 1:
        c.skip(6)
    elif version not in (2, 3) or (version == 3 and kind != 2):
        raise image.unsupported("a shared message heap", f"byte {c.address}")
    address = c.u64()
    for message in messages(image, address):
        if message.kind == TYPE and not message.shared:
            return datatype(message.cursor(image))
    raise image.corrupt("no datatype here", f"byte {address}")
