"""The central directory of a zip archive, every entry checked against the file.

Layouts are those of PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5. Names are kept as they
are, `..` and all: nothing is ever unpacked to a path.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import CorruptError, FormatError, UnsafeError
from ..files import Source

STORED, DEFLATED = 0, 8
# What an archive may inflate to. Deflate reaches 1,032:1 on zeros; weights stay below 20:1.
RATIO = 200
MEMBER_FLOOR = 16 << 20  # a member of no more than this is taken at any ratio
TOTAL_FLOOR = 64 << 20  # and so is an archive that unpacks to no more than this

LOCAL, _CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _MASKED, _UTF8 = 1 << 0, 1 << 3, 1 << 5, 1 << 13, 1 << 11


@dataclass(frozen=True)
class Member:
    """One entry of the central directory. `packed` and `nbytes`: sizes before and after inflating.

    `header` is the offset of its local header; its bytes end before `limit`, where the next
    member or the directory begins. A `crc` of 0 was not computed (torch can write so).
    """

    __slots__ = ("crc", "header", "limit", "method", "name", "nbytes", "packed")
    name: str
    method: int
    crc: int
    packed: int
    nbytes: int
    header: int
    limit: int

    @property
    def stored(self) -> bool:
        return self.method == STORED


def members(source: Source) -> dict[str, Member]:
    """The archive's members in directory order.

    Raises CorruptError (cut short, duplicates, overlaps, out of bounds), UnsafeError (sizes only
    a bomb needs) and FormatError (encrypted or split archives).
    """
    start, nbytes, count = _locate_directory(source)
    raw = source.pread(start, nbytes)
    found: dict[str, Member] = {}
    position = 0
    for _ in range(count):
        member, position = _central_entry(source, raw, position, start)
        if member.name in found:
            raise CorruptError("two members have this name", path=source.path, place=member.name)
        found[member.name] = member
    if position != nbytes:
        raise damaged(source, f"its directory has {nbytes - position} bytes too many")
    total = sum(member.nbytes for member in found.values())
    if total > max(TOTAL_FLOOR, RATIO * source.size):
        raise UnsafeError(
            f"unpacks from {source.size} to {total} bytes",
            path=source.path,
            advice="This is how a zip bomb looks; nothing was unpacked.",
        )
    return _limited(source, found, start)


def _locate_directory(source: Source) -> tuple[int, int, int]:
    """(offset, bytes, entries) of the central directory, from the records at the file's end."""
    tail_size = min(source.size, 22)
    tail = source.pread(source.size - tail_size, tail_size)
    if not (tail.startswith(END) and tail.endswith(b"\0\0")):  # a comment follows the record
        tail_size = min(source.size, 22 + _MAX16)
        tail = source.pread(source.size - tail_size, tail_size)
    at = tail.rfind(END)
    while at >= 0 and (
        at + 22 > tail_size or at + 22 + struct.unpack_from("<H", tail, at + 20)[0] != tail_size
    ):
        at = tail.rfind(END, 0, at + 3)
    if at < 0:
        raise CorruptError(
            "the zip directory at the end of the file is missing",
            path=source.path,
            place=f"byte {source.size}",
            advice="The file is probably cut short: copy or download it again.",
        )
    disk, first_disk, here, count, nbytes, start = struct.unpack_from("<4H2L", tail, at + 4)
    end = source.size - tail_size + at
    if end >= 20 and source.pread(end - 20, 4) == _LOCATOR64:
        end, wide = _end64(source, end - 20)
        narrow = (disk, first_disk, here, count, nbytes, start)
        for value, true, most in zip(narrow, wide, (_MAX16,) * 4 + (_MAX32,) * 2, strict=True):
            if value not in (true, most):
                raise damaged(source, "its two end records disagree")
        disk, first_disk, here, count, nbytes, start = wide
    if disk or first_disk or here != count:
        raise FormatError("is one part of a split zip archive", path=source.path)
    if start + nbytes != end or count * 46 > nbytes:
        raise damaged(source, f"its directory is not the {nbytes} bytes at {start}")
    return start, nbytes, count


def _end64(source: Source, locator: int) -> tuple[int, tuple[int, ...]]:
    """Offset and fields of the zip64 end record (APPNOTE 4.3.14, 4.3.15)."""
    disk, at, disks = struct.unpack("<LQL", source.pread(locator + 4, 16))
    if disk or disks > 1:
        raise FormatError("is one part of a split zip archive", path=source.path)
    if at + 56 > locator or source.pread(at, 4) != _END64:
        raise damaged(source, f"no zip64 end record at byte {at}")
    size, *fields = struct.unpack("<Q2x2x2L4Q", source.pread(at + 4, 52))
    if at + 12 + size != locator:
        raise damaged(source, "its zip64 end record has the wrong length")
    return at, tuple(fields)


def _central_entry(source: Source, raw: bytes, at: int, start: int) -> tuple[Member, int]:
    """The entry at `at` of the directory `raw`, and where the next begins."""
    if raw[at : at + 4] != _CENTRAL or at + 46 > len(raw):
        raise damaged(source, "no directory entry here", start + at)
    flags, method, crc, packed, nbytes, n_name, n_extra, n_comment, disk, header = (
        struct.unpack_from("<2H4x3L4H6xL", raw, at + 8)
    )
    end = at + 46 + n_name + n_extra + n_comment
    if end > len(raw):
        raise damaged(source, "a directory entry runs past its end", start + at)
    stored_name = raw[at + 46 : at + 46 + n_name]
    name = _decode(stored_name, flags)
    if not name or "\0" in name:
        raise damaged(source, f"a member is named {name!r}", start + at)
    extra = raw[at + 46 + n_name : at + 46 + n_name + n_extra]
    nbytes, packed, header = _widened(source, name, extra, [nbytes, packed, header])
    _check_entry(source, name, flags, method, packed, nbytes, disk)
    return Member(name, method, crc, packed, nbytes, header, 0), end


def _check_entry(
    source: Source, name: str, flags: int, method: int, packed: int, nbytes: int, disk: int
) -> None:
    if flags & (_ENCRYPTED | _MASKED):
        raise FormatError("is encrypted", path=source.path, place=name)
    if flags & _PATCHED or disk not in (0, _MAX16):
        raise FormatError("is patched or split data", path=source.path, place=name)
    if method == STORED and packed != nbytes:
        raise damaged(source, f"stored bytes {packed} and size {nbytes} differ", place=name)
    if nbytes > max(MEMBER_FLOOR, RATIO * packed):
        raise UnsafeError(
            f"unpacks from {packed} to {nbytes} bytes",
            path=source.path,
            place=name,
            advice="This is how a zip bomb looks; nothing was unpacked.",
        )


def _limited(source: Source, members: dict[str, Member], directory: int) -> dict[str, Member]:
    """The members with their `limit`; raises where one reaches into the next."""
    limits: dict[str, int] = {}
    limit = directory
    for member in sorted(members.values(), key=lambda m: m.header, reverse=True):
        if member.header + 30 + len(member.name) + member.packed > limit:
            raise damaged(source, "overlaps what follows it", place=member.name)
        limits[member.name] = limit
        limit = member.header
    return {
        m.name: Member(m.name, m.method, m.crc, m.packed, m.nbytes, m.header, limits[m.name])
        for m in members.values()
    }


def _widened(source: Source, name: str, extra: bytes, fields: list[int]) -> list[int]:
    """`fields` (size, packed size, header offset) with the zip64 values of `extra` (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != 1:
            continue
        position = 0
        for i, value in enumerate(fields):
            if value == _MAX32:
                if position + 8 > len(body):
                    raise damaged(source, "its zip64 sizes are missing", place=name)
                fields[i] = struct.unpack_from("<Q", body, position)[0]
                position += 8
        break
    return fields


def data_offset(source: Source, member: Member) -> int:
    """The first byte after the local header, which must agree with the directory (4.3.7)."""
    if member.method not in (STORED, DEFLATED):
        raise FormatError(
            f"is compressed by method {member.method}", path=source.path, place=member.name
        )
    head = source.pread(member.header, 30)
    signature, flags, method, crc, packed, nbytes, n_name, n_extra = struct.unpack(
        "<4s2x2H4x3L2H", head
    )
    if signature != LOCAL:
        raise damaged(source, "no local header", member.header, member.name)
    rest = source.pread(member.header + 30, n_name + n_extra)
    if _decode(rest[:n_name], flags) != member.name:
        raise damaged(source, "its local header has another name", member.header, member.name)
    nbytes, packed = _widened(source, member.name, rest[n_name:], [nbytes, packed])
    start: int = member.header + 30 + n_name + n_extra
    later = bool(flags & _DESCRIPTOR)  # sizes and CRC follow the data; here they may be 0
    same = all(
        value == true or (later and value == 0)
        for value, true in ((crc, member.crc), (packed, member.packed), (nbytes, member.nbytes))
    )
    if not same or method != member.method or flags & _ENCRYPTED:
        reason = "its local header contradicts the directory"
        raise damaged(source, reason, member.header, member.name)
    if start + member.packed > member.limit:
        raise damaged(source, "overlaps what follows it", member.header, member.name)
    return start


def _decode(name: bytes, flags: int) -> str:
    """A member's name. torch and numpy write UTF-8 with and without saying so."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape") if flags & _UTF8 else name.decode("cp437")


def damaged(
    source: Source, reason: str, offset: int | None = None, place: str | None = None
) -> CorruptError:
    where = place or ("zip" if offset is None else f"byte {offset}")
    return CorruptError(f"damaged zip archive: {reason}", path=source.path, place=where)
