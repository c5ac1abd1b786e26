"""Is a file one of torch's? Looks at first bytes and, of a zip archive, at its directory."""

from __future__ import annotations

import re

from ...errors import WtoolsError
from ...files import Source
from .. import zips

MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC = MAGIC.to_bytes(10, "little")
# A plain pickle: the protocol and a first opcode, or what protocols 0 and 1 begin with: a name
# that is looked up, a dict, a list, a tuple, each with an opcode that may follow.
_PICKLE = re.compile(
    rb"\x80[\x02-\x05](?:\x95.{8})?[\x80-\x94(\])}cCBGIJKLMNSTUVX]"
    rb"|\(?c[\w.]+\n[\w.]+\n(?:p\d+\n|[q)(.RN]|[SV]['\"\w]|[IL]\d)"
    rb"|\([dl]p\d+\n|\(I-?\d+\n|\(S'[^\n]*'\n|\(V[^\n]*\np\d+\n|[}\]]q\x00",
    re.DOTALL,
)
_FIRST = re.compile(r"[^/]+/(data\.pkl|version|byteorder|\.format_version|(data|constants)/[^/]+)$")
_TAR = (b"sys_info\0", b"storages\0", b"tensors\0", b"pickle\0")


def is_pickle(head: bytes) -> bool:
    """Does a file that begins with these bytes look like a pickle?"""
    return _PICKLE.match(head) is not None


def is_legacy(head: bytes) -> bool:
    """Does it begin with torch's magic number, pickled (by protocol 2 to 5, or in text)?"""
    return _MAGIC in head[:32] or head.startswith(f"L{MAGIC}L\n".encode())


def is_torch(source: Source) -> bool:
    """A zip archive with torch's data.pkl, a pickle, or the tar format of torch 0.1."""
    if zips.is_zip(source):
        try:
            return folder_of(zips.directory(source)) is not None
        except WtoolsError:  # cut or damaged: the first member still tells
            return _FIRST.match(zips.first_name(source) or "") is not None
    head = source.pread(0, min(source.size, 512))
    return is_legacy(head) or is_pickle(head) or is_tar(head)


def folder_of(archive: zips.Zip) -> str | None:
    """The one folder that holds `data.pkl` beside `version` or storages, as "name/"."""
    folders = [name[: -len("data.pkl")] for name in archive if name.endswith("data.pkl")]
    folders = [folder for folder in folders if folder.endswith("/") and folder.count("/") == 1]
    return folders[0] if len(folders) == 1 else None


def is_tar(head: bytes) -> bool:
    """Does it begin like a tar archive whose first member torch 0.1 wrote?"""
    return head[257:262] == b"ustar" and head.startswith(_TAR)
