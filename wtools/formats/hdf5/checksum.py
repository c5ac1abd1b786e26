"""The checksum of HDF5 metadata: Bob Jenkins' lookup3 hash, "hashlittle", from an initial 0."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def lookup3(data: bytes) -> int:
    """The 32-bit hash that ends superblocks of version 2 and headers of version 2."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    whole = (len(data) - 1) // 12 * 12  # the last 1 to 12 bytes are mixed otherwise
    x: int
    y: int
    z: int
    for x, y, z in struct.iter_unpack("<3L", data[:whole]):
        a, b, c = a + x & _MASK, b + y & _MASK, c + z & _MASK
        a = (a - c & _MASK) ^ (c << 4 & _MASK | c >> 28)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 6 & _MASK | a >> 26)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 8 & _MASK | b >> 24)
        b = b + a & _MASK
        a = (a - c & _MASK) ^ (c << 16 & _MASK | c >> 16)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 19 & _MASK | a >> 13)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 4 & _MASK | b >> 28)
        b = b + a & _MASK
    x, y, z = map(int, struct.unpack("<3L", data[whole:].ljust(12, b"\0")))
    a, b, c = a + x & _MASK, b + y & _MASK, c + z & _MASK
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - (b << turn & _MASK | b >> 32 - turn) & _MASK
        a, b, c = b, c, a  # each takes the next one's part
    return b
