"""PyTorch: zip archives, files from before 1.6, TorchScript, pickled modules.

The pickle inside is interpreted, never run (`pickle_machine`); tensors are ranges of the file.

    pickle_machine, keys, reader    opcodes to inert values, in bounded memory
    constructors, values, dtypes    the exact table of known calls and what they return
    archive, legacy, torchscript    the containers
    structure, roots, metadata      which tensors there are, which of them are the weights
    tensors, places, strided, sparse    from those records to lazy Tensors
"""

from __future__ import annotations

import re

from ...errors import FormatError, WtoolsError
from ...files import Source
from ...tree import WeightTree
from .. import zips

NAME = "pytorch"
TITLE = "PyTorch: torch.save (zip and legacy), TorchScript, pickled modules"
EXTENSIONS = (".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".jit", ".pkl")

_FIRST = re.compile(r"[^/]+/(data\.pkl|version|byteorder|\.format_version|(data|constants)/[^/]+)$")
_TAR = (b"sys_info\0", b"storages\0", b"tensors\0", b"pickle\0")


def sniff(source: Source) -> bool:
    """A zip archive with torch's data.pkl, a pickle, or the tar format of torch 0.1."""
    if zips.is_zip(source):
        from .archive import folder_of

        try:
            return folder_of(zips.directory(source)) is not None
        except WtoolsError:  # cut or damaged: the first member still tells
            return _FIRST.match(zips.first_name(source) or "") is not None
    from . import legacy

    head = source.pread(0, min(source.size, 512))
    return legacy.is_legacy(head) or legacy.sniff(head) or _is_tar(head)


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The weights; `apart` has the optimizer and other sets of tensors.

    root: a key path in the checkpoint ("ema.state_dict"), or a name of `apart`.
    Raises CorruptError, UnsafeError, FormatError, NameNotFoundError.
    """
    from .checkpoint import read

    if not zips.is_zip(source) and _is_tar(source.pread(0, min(source.size, 512))):
        raise FormatError(
            "torch's tar format of 2016",
            path=source.path,
            advice="Load it with torch.load(weights_only=False), if you trust it, and save anew.",
        )
    return read(source, root)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar" and head.startswith(_TAR)
