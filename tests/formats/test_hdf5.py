"""HDF5 read without the HDF5 library: what h5py says is the truth, in structure and in value."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtools.errors import CorruptError, FormatError, UnsafeError, WtoolsError
from wtools.files import Source
from wtools.formats import hdf5
from wtools.formats.hdf5.checksum import lookup3
from wtools.formats.hdf5.chunks import SLAB, ChunkedData, _slabs
from wtools.formats.hdf5.cursor import Image

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "keras"
DTYPES = [*(f"{o}{k}" for o in "<>" for k in ("f2", "f4", "f8", "i2", "i8", "u4", "c8", "c16"))]
DTYPES += ["i1", "u1", "?"]


def groups(group: hdf5.Group) -> Iterator[hdf5.Group]:
    yield group
    for below in group.groups.values():
        yield from groups(below)


def plain(value: Any) -> Any:
    """An attribute's value from h5py as wtools gives it."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [v.decode() if isinstance(v, bytes) else v for v in value.tolist()]
    return value


def assert_as_h5py_says(path: Path) -> int:
    """Every group, attribute and element; the number of datasets."""
    seen: dict[str, Any] = {}
    with h5py.File(path) as f, Source(path) as source:
        f.visititems(lambda name, item: seen.__setitem__(name, item))
        root = hdf5.open(source)
        datasets = list(root.walk())
        ours = {item.path for item in [*datasets, *groups(root)]} - {""}
        assert ours == {n for n, item in seen.items() if not isinstance(item, h5py.Datatype)}
        for item in [*datasets, *groups(root)]:
            theirs = seen.get(item.path, f).attrs
            assert set(item.attributes) == set(theirs)
            for name, value in theirs.items():
                assert np.array_equal(plain(value), item.attributes[name]), (item.path, name)
        for dataset in datasets:
            theirs = seen[dataset.path]
            assert dataset.shape == theirs.shape
            if dataset.type.dtype is None:
                assert theirs.dtype.kind in "VSO"
                continue
            data, values = dataset.data(dataset.type.dtype), theirs[()]
            assert data.read().dtype == values.dtype.newbyteorder("=")
            np.testing.assert_array_equal(data.read(), values, err_msg=dataset.path)
            blocks = list(data.blocks(256))
            assert all(block.nbytes <= 256 for block in blocks)
            if values.size:
                np.testing.assert_array_equal(np.concatenate(blocks), values.reshape(-1))
        return len(datasets)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.h5")), ids=lambda p: p.name)
def test_files_written_by_keras(file: Path) -> None:
    assert assert_as_h5py_says(file) > 0


def fill(f: h5py.File) -> None:
    """One of everything that weights files may hold."""
    rng = np.random.default_rng(0)
    for i in range(20):  # enough for the denser kinds of group and of attribute storage
        group = f.create_group(f"group{i:03}")
        group.attrs["n"] = "x" * i
        f.attrs[f"attribute{i}"] = np.arange(i)
    for i, dtype in enumerate(DTYPES):
        f[f"dtype/{i}"] = rng.integers(0, 2, (2, 3)).astype(dtype)
    f["scalar"], f["empty"] = np.float32(3), np.zeros((0, 3), "f4")
    f.create_dataset("unallocated", (10, 10), "f4")
    f.create_dataset("fill", (10, 10), "f4", fillvalue=3.5)
    f.create_dataset("chunks/none", (10, 10), ">f4", chunks=(3, 4), fillvalue=2.5)
    values = rng.normal(size=(17, 5, 9)).astype("f4")
    f.create_dataset("chunks/cube", data=values, chunks=(4, 2, 4))
    options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    f.create_dataset("chunks/filters", data=values, chunks=(7, 5, 2), **options)
    f.create_dataset("chunks/one", data=values, chunks=values.shape)
    f.create_dataset("chunks/one_packed", data=values, chunks=values.shape, compression="gzip")
    some = f.create_dataset("chunks/some", (100, 100), "f4", chunks=(10, 10))
    some[35:55, 35:47] = 1
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((5,))
    made = h5py.h5d.create(f.id, b"compact", h5py.h5t.NATIVE_FLOAT, space, compact)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(5, dtype="f4"))
    f["type"] = np.dtype("f4")
    made = h5py.h5d.create(f.id, b"committed", f["type"].id, space)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(5, dtype="f4"))
    f["strings"], f["fixed"] = ["a", "bb"], np.array([b"a", b"bb"])
    f["compound"] = np.zeros(3, [("a", "f4"), ("b", "i8")])
    f.attrs["text"], f.attrs["texts"] = "héllo", ["a", "bb", "ccc"]
    f.attrs["bytes"], f.attrs["nothing"] = np.array([b"a", b"bb"]), h5py.Empty("f4")
    f.attrs["flag"] = True


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"userblock_size": 1024},
        {"track_order": True},
        {"libver": ("v108", "v108")},
        {"libver": ("v110", "v110")},
        {"libver": "latest", "track_order": True},
    ],
    ids=str,
)
def test_every_layout_in_every_version_of_the_format(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "x.h5", "w", **options) as f:
        fill(f)
    assert assert_as_h5py_says(tmp_path / "x.h5") == 15 + len(DTYPES)


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_more_links_and_attributes_than_one_node_holds(libver: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as f:
        for i in range(2000):
            f[f"d{i * 7919 % 100003}"] = np.float32(i)
        if libver != "earliest":  # which cannot hold them
            f.attrs["long"] = np.array([b"n" * 1000] * 200)
            for i in range(300):
                f.attrs[f"a{i}"] = "v" * i
    assert assert_as_h5py_says(tmp_path / "x.h5") == 2000


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_chunked_dataset(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4), "shape")
    chunks = tuple(data.draw(st.integers(1, n), "chunk") for n in shape)
    dtype = data.draw(st.sampled_from(DTYPES))
    options = {
        "compression": data.draw(st.sampled_from([None, "gzip"])),
        "shuffle": data.draw(st.booleans()),
        "fletcher32": data.draw(st.booleans()),
    }
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path_factory.mktemp("chunks") / "x.h5"
    libver = data.draw(st.sampled_from(["earliest", "latest"]))
    with h5py.File(path, "w", libver=libver) as f:
        x = f.create_dataset("x", shape, dtype, chunks=chunks, **options)
        if data.draw(st.booleans()):
            x[...] = values
        else:
            x[0] = values[0]
    assert assert_as_h5py_says(path) == 1


@given(st.lists(st.tuples(st.integers(1, 1 << 24), st.integers(1, 64)), min_size=1, max_size=3))
def test_slabs_stay_within_their_bound(axes: list[tuple[int, int]]) -> None:
    shape = tuple(n for n, _ in axes)
    chunk = tuple(min(n, c) for n, c in axes)
    for (start, stop), _ in zip(_slabs(shape, chunk, 8, 1 << 20), range(50), strict=False):
        count = math.prod(b - a for a, b in zip(start, stop, strict=True))
        assert 0 < count * 8 <= SLAB


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 100))
def test_slabs_follow_one_another_in_c_order(shape: list[int], nbytes: int) -> None:
    numbers = np.arange(math.prod(shape)).reshape(shape)
    parts = []
    for start, stop in _slabs(tuple(shape), (2,) * len(shape), 8, nbytes):
        where = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        parts.append(numbers[where].reshape(-1))
    np.testing.assert_array_equal(np.concatenate(parts), numbers.reshape(-1))


def test_a_chunk_is_unpacked_once_in_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(64 * 100.0).reshape(64, 100)
    with h5py.File(tmp_path / "x.h5", "w") as f:
        f.create_dataset("x", data=values, chunks=(8, 30), compression="gzip")
    unpacked = []
    original = ChunkedData._unpacked

    def counted(self: ChunkedData, entry: Any) -> Any:
        unpacked.append(int(entry["index"]))
        return original(self, entry)

    monkeypatch.setattr(ChunkedData, "_unpacked", counted)
    with Source(tmp_path / "x.h5") as source:
        (dataset,) = hdf5.open(source).walk()
        assert dataset.type.dtype is not None
        blocks = list(dataset.data(dataset.type.dtype).blocks(100))
    assert sorted(unpacked) == list(range(32))
    np.testing.assert_array_equal(np.concatenate(blocks), values.reshape(-1))


def test_lookup3_of_the_published_examples() -> None:
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


@pytest.mark.parametrize("libver", ["v108", "latest"])
def test_a_flipped_bit_under_a_checksum_is_seen(libver: str, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=libver) as f:
        f["x"] = np.arange(3)
    good = path.read_bytes()
    at = good.index(b"OHDR", good.index(b"OHDR") + 1)
    for place in (20, at + 20):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with Source(path) as source, pytest.raises(CorruptError):
            hdf5.open(source)


def test_unlimited_chunks_in_the_newest_layout_are_refused_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as f:
        f.create_dataset("x", data=np.arange(10.0), chunks=(4,), maxshape=(None,))
    with Source(tmp_path / "x.h5") as source, pytest.raises(FormatError, match="extensible"):
        hdf5.open(source)


def test_two_names_of_one_dataset_have_one_storage(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as f:
        f["a"] = np.arange(6.0)
        f["b"] = f["a"]
    with Source(tmp_path / "x.h5") as source:
        one, two = hdf5.open(source).walk()
        assert one.storage() == two.storage() is not None


def test_a_chunk_that_unpacks_to_much_more_than_it_has_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as f:
        f.create_dataset("x", (1 << 25,), "f4", chunks=(1 << 25,), compression=9)[...] = 0
    with Source(tmp_path / "x.h5") as source, pytest.raises(UnsafeError, match="are stored"):
        hdf5.open(source)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few bytes changed the way damage and malice change them."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(out) if rng.random() < 0.5 else min(len(out), 4096))
        number = rng.choice(
            (0, 1, 2**31 - 1, 2**32 - 1, 2**64 - 1, len(out), rng.randrange(1 << 16))
        )
        width = rng.choice((1, 2, 4, 8))
        out[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(out[: len(data)])


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
def test_changed_bytes_give_elements_or_a_typed_error(
    libver: str, checksums: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not checksums:  # as a forger would: they are right whatever the rest says
        monkeypatch.setattr(Image, "verify", lambda *_: None)
    rng = random.Random(libver)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=libver) as f:
        fill(f)
    good = path.read_bytes()
    refused = 0
    for _ in range(150):
        path.write_bytes(mutated(good, rng))
        with Source(path) as source:
            try:
                for dataset in hdf5.open(source).walk():
                    if dataset.type.dtype is not None:
                        for block in dataset.data(dataset.type.dtype).blocks():
                            block.tobytes()
            except WtoolsError:
                refused += 1
    assert refused > 20
