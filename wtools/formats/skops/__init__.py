"""skops: estimators of scikit-learn, as `skops.io.dump` writes them.

A zip archive: `schema.json` says which objects there are, `.npy` members (and scipy's `.npz` for
sparse matrices) hold their arrays. Nothing is imported and nothing is made of what the schema
names: classes are told, not looked up. Written from skops/io/_persist.py, _general.py, _numpy.py,
_scipy.py and _sklearn.py of skops 0.16 (protocol 2) and read for protocols 0 to 2 alike.

    schema    schema.json to a tree of nodes, in bounded memory
    reader    nodes to the description of an estimator (wtools/estimators) with lazy arrays
    sparse    scipy's sparse matrices, shown dense where that is in proportion
"""

from __future__ import annotations

from ...errors import WtoolsError
from ...files import Source
from ...tree import WeightTree
from .. import zips

NAME = "skops"
TITLE = "scikit-learn estimators and pipelines (skops.io.dump)"
EXTENSIONS = (".skops",)


def sniff(source: Source) -> bool:
    """A zip archive with a schema.json."""
    if not zips.is_zip(source) or not zips.names_in_tail(source, zips.SCHEMA):
        return False
    try:
        return zips.SCHEMA in zips.directory(source)
    except WtoolsError:
        return False


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The arrays of an estimator under the paths of their attributes; see `estimators.described`.

    root: "fitting" for what only fitting needed, or the path of an estimator in it.
    Raises CorruptError, UnsafeError, FormatError, NameNotFoundError.
    """
    from .reader import read

    return read(source, root)
