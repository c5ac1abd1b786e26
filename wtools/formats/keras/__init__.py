"""Keras: full models and weights from Keras 1 to 3, `.h5`, `.weights.h5` and `.keras`.

The HDF5 layer is wtools.formats.hdf5, which needs no HDF5 library. Here its groups are read as
Keras wrote them (reader.py, legacy.py, saving.py), its layers are looked up in the model's config
(config.py) and its variables named (variables.py, optimizers.py). Any other HDF5 file with arrays
of numbers opens, too, its datasets under their paths.
"""

from __future__ import annotations

from ...errors import WtoolsError
from ...files import Source
from ...tree import WeightTree
from .. import zips

NAME = "keras"
TITLE = "Keras models and weights (.h5, .weights.h5, .keras), and plain HDF5"
EXTENSIONS = (".keras", ".h5", ".hdf5", ".he5")
HDF5 = b"\x89HDF\r\n\x1a\n"


def sniff(source: Source) -> bool:
    """HDF5 by its signature, a zip archive by the members that Keras writes."""
    if not zips.is_zip(source):
        return _is_hdf5(source)
    first = zips.first_name(source)
    if first is None or first.endswith((".npy", ".pkl")):
        return False
    try:
        members = zips.directory(source)
    except WtoolsError:  # to be said by `read`, if Keras began it
        return first == "metadata.json"
    kept = any(name.startswith("model.weights.") for name in members)
    return "config.json" in members and (kept or "metadata.json" in members)


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The file's weights, lazily. See `reader.read`."""
    from .reader import read

    return read(source, root=root)


def _is_hdf5(source: Source) -> bool:
    """The signature at 0, or after a user block of 512, 1024, ... bytes."""
    at = 0
    while at + 8 <= source.size and at <= 1 << 20:
        head = source.pread(at, min(16, source.size - at))
        if head[:8] == HDF5 and (at == 0 or _is_superblock(head)):
            return True
        at = at * 2 or 512
    return False


def _is_superblock(head: bytes) -> bool:
    """Does a version and a size of offsets follow? Another format's data may hold a signature."""
    if len(head) < 16:
        return False
    return head[8] <= 3 and head[13 if head[8] < 2 else 9] in (4, 8)
