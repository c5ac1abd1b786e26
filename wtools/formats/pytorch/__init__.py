"""PyTorch: zip archives, files from before 1.6, TorchScript, pickled modules.

The pickle inside is interpreted, never run (`pickle_machine`); tensors are ranges of the file.

    pickle_machine, keys, reader    opcodes to inert values, in bounded memory
    constructors, values, dtypes    the exact table of known calls and what they return
    recognize                       is a file one of torch's?
    archive, legacy, torchscript    the containers
    structure, roots, metadata      which tensors there are, which of them are the weights
    tensors, places, strided, sparse    from those records to lazy Tensors
"""

from __future__ import annotations

from ...errors import FormatError
from ...files import Source
from ...tree import WeightTree
from .. import zips

NAME = "pytorch"
TITLE = "PyTorch: torch.save (zip and legacy), TorchScript, pickled modules"
EXTENSIONS = (".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".jit", ".pkl")


def sniff(source: Source) -> bool:
    """A zip archive with torch's data.pkl, a pickle, or the tar format of torch 0.1."""
    from .recognize import is_torch

    return is_torch(source)


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The weights; `apart` has the optimizer and other sets of tensors.

    root: a key path in the checkpoint ("ema.state_dict"), or a name of `apart`.
    Raises CorruptError, UnsafeError, FormatError, NameNotFoundError.
    """
    from .checkpoint import read
    from .recognize import is_tar

    if not zips.is_zip(source) and is_tar(source.pread(0, min(source.size, 512))):
        raise FormatError(
            "torch's tar format of 2016",
            path=source.path,
            advice="Load it with torch.load(weights_only=False), if you trust it, and save anew.",
        )
    return read(source, root)
