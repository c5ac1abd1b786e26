"""The zip directory reader: what it takes, what it refuses, and that it never unpacks a bomb."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wtools import dtypes
from wtools.errors import CorruptError, FormatError, UnsafeError, WtoolsError
from wtools.files import RawData, Source
from wtools.formats import zips

BODY = np.random.default_rng(0).integers(0, 9, 200_000).astype("<i2")


def archive(folder: Path, method: int = zipfile.ZIP_STORED, force_zip64: bool = False) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", method) as z:
        z.writestr("a/data.pkl", b"hello")
        with z.open("a/data/0", "w", force_zip64=force_zip64) as member:
            member.write(BODY.tobytes())
        z.writestr("a/empty", b"")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("zip64", [False, True])
def test_it_says_what_zipfile_says(tmp_path: Path, method: int, zip64: bool) -> None:
    path = archive(tmp_path, method, zip64)
    with zipfile.ZipFile(path) as theirs, Source(path) as source:
        ours = zips.directory(source)
        assert list(ours) == theirs.namelist()
        for info in theirs.infolist():
            member = ours[info.filename]
            assert (member.nbytes, member.packed) == (info.file_size, info.compress_size)
            assert ours.read(info.filename) == theirs.read(info.filename)
            assert ours.verify_crc(info.filename)
            assert all(len(b) <= 1000 for b in ours.blocks(info.filename, 1000))


def test_a_stored_member_is_a_range_of_the_file(tmp_path: Path) -> None:
    path = archive(tmp_path)
    with Source(path) as source:
        at = zips.directory(source).offset("a/data/0")
        assert path.read_bytes()[at : at + BODY.nbytes] == BODY.tobytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_elements_of_a_member(tmp_path: Path, method: int) -> None:
    with Source(archive(tmp_path, method)) as source:
        data = zips.directory(source).data("a/data/0", 2_000, (99, 1000), dtypes.get("int16"))
        expected = BODY[1000:100_000]
        assert isinstance(data, RawData) == (method == zipfile.ZIP_STORED)
        assert np.array_equal(data.read(), expected.reshape(99, 1000))
        for nbytes in (256, 1 << 20):
            blocks = list(data.blocks(nbytes))
            assert all(block.nbytes <= nbytes for block in blocks)
            assert np.array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_as_a_file(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path, method)
    with Source(path) as source, zips.directory(source).file("a/data/0") as file:
        file.seek(-10, io.SEEK_END)
        assert file.read() == BODY.tobytes()[-10:]
        file.seek(6)
        assert file.read(4) == BODY.tobytes()[6:10]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_is_found_when_asked(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path, method)
    with Source(path) as source:
        at = zips.directory(source).offset("a/data/0") + 50_000
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)
    with Source(path) as source:
        z = zips.directory(source)
        assert z.verify_crc("a/data.pkl")
        with pytest.raises(CorruptError, match=r"a/data/0.*(CRC|inflated|unpacks)"):
            z.verify_crc("a/data/0")


def test_a_crc_of_zero_was_not_computed(tmp_path: Path) -> None:
    path = archive(tmp_path)
    data = bytearray(path.read_bytes())
    crc = struct.pack("<L", zlib.crc32(BODY.tobytes()))
    assert data.count(crc) == 2
    path.write_bytes(data.replace(crc, bytes(4)))
    with Source(path) as source:
        z = zips.directory(source)
        assert z.read("a/data/0") == BODY.tobytes()
        assert not z.verify_crc("a/data/0")


def edit(path: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """Change an archive given the offsets of its directory and of its end record."""
    data = bytearray(path.read_bytes())
    change(data, data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06"))
    path.write_bytes(data)
    return path


def put(fmt: str, where: str, at: int, value: int) -> Callable[[bytearray, int, int], None]:
    def change(data: bytearray, directory: int, end: int) -> None:
        start = {"local": 0, "directory": directory, "end": end}[where]
        struct.pack_into(fmt, data, start + at, value)

    return change


def insert(what: bytes) -> Callable[[bytearray, int, int], None]:
    return lambda data, directory, end: data.__setitem__(slice(0, 0), what)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (put("<H", "directory", 8, 1), FormatError, "encrypted"),
        (put("<H", "local", 6, 1), CorruptError, "contradicts"),
        (put("<L", "local", 14, 77), CorruptError, "contradicts"),
        (put("<L", "local", 18, 77), CorruptError, "contradicts"),
        (put("<H", "local", 8, 8), CorruptError, "contradicts"),
        (put("<B", "local", 31, 65), CorruptError, "another name"),
        (put("<H", "directory", 10, 12), FormatError, "method 12"),
        (put("<L", "directory", 20, 6), CorruptError, "differ"),
        (put("<L", "directory", 42, 1 << 30), CorruptError, "overlaps"),
        (put("<B", "local", 3, 9), CorruptError, "no local header"),
        (put("<H", "end", 4, 1), FormatError, "split"),
        (put("<H", "end", 8, 2), FormatError, "split"),
        (put("<L", "end", 12, 9), CorruptError, "directory"),
        (put("<L", "end", 16, 0), CorruptError, "directory"),
        (put("<H", "end", 20, 5), CorruptError, "missing"),
        (insert(b"prefix"), CorruptError, "directory"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[..., None], error: type[WtoolsError], match: str
) -> None:
    path = edit(archive(tmp_path), change)
    with Source(path) as source, pytest.raises(error, match=match):
        z = zips.directory(source)
        for name in z:
            z.read(name)


def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as z, pytest.warns(UserWarning, match="Duplicate"):
        z.writestr("x", b"1")
        z.writestr("x", b"2")
    with Source(path) as source, pytest.raises(CorruptError, match="x: two members"):
        zips.directory(source)


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """The bomb of many entries over one body."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("x", b"1" * 100)
        z.writestr("y", b"2" * 100)

    def both_at_0(data: bytearray, directory: int, end: int) -> None:
        second = data.index(b"PK\x01\x02", directory + 4)
        struct.pack_into("<L", data, second + 42, 0)

    edit(path, both_at_0)
    with Source(path) as source, pytest.raises(CorruptError, match="overlaps"):
        zips.directory(source)


def test_one_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x", bytes(20 << 20))
    with Source(path) as source, pytest.raises(UnsafeError, match=r"unpacks from \d+ to 20971520"):
        zips.directory(source)


def test_a_bomb_of_many_members(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for i in range(40):
            z.writestr(str(i), bytes(2 << 20))
    with Source(path) as source, pytest.raises(UnsafeError, match="to 83886080 bytes"):
        zips.directory(source)


@pytest.mark.parametrize("claim", [10, 5_000_000])
def test_a_stream_longer_or_shorter_than_it_claims(tmp_path: Path, claim: int) -> None:
    path = archive(tmp_path, zipfile.ZIP_DEFLATED)
    size = struct.pack("<L", BODY.nbytes)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", claim)))
    with Source(path) as source, pytest.raises(CorruptError, match="a/data/0: unpacks to"):
        zips.directory(source).read("a/data/0")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_cut_is_found(tmp_path: Path, method: int) -> None:
    data = archive(tmp_path, method).read_bytes()
    path = tmp_path / "cut.zip"
    for length in {*range(0, len(data), 9973), *range(len(data) - 300, len(data))}:
        path.write_bytes(data[:length])
        with Source(path) as source, pytest.raises(CorruptError):
            zips.directory(source)


def test_random_damage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    random.seed(1)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for i in range(5):
            z.writestr(f"n{i}", bytes(range(200)) * i)
    data = path.read_bytes()
    for _ in range(2000):
        bad = bytearray(data)
        for _ in range(random.randint(1, 3)):
            bad[random.randrange(len(bad))] = random.randrange(256)
        path.write_bytes(bad)
        with Source(path) as source:
            try:
                z = zips.directory(source)
                for name in z:
                    z.read(name)
            except WtoolsError:
                pass
