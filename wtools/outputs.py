"""Outputs that appear whole or not at all, be they one file or a set of files.

Everything is written into a hidden folder beside the target, under the final names, so that it
can be opened and compared before anybody sees it. Then the files are synced and renamed: first
the companions (shards, external data), under names that nothing has yet, last the main file (the
index, the model), whose rename is the one step that turns old into new. A journal in the hidden
folder tells whoever comes after a crash which companions are then surplus: the new ones while
the main file still waits in the folder, the old ones once it has left.

The folder is locked while its process lives; an unlocked one is swept by the next output.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .errors import OutputError, WtoolsError

SUFFIX = ".wtmp"
_JOURNAL = "journal.json"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Output:
    """A target being written. Write `main` and every `part(name)`; `advance(nbytes)` as you go."""

    def __init__(self, final: Path, folder: Path, advance: Callable[[int], None]) -> None:
        self.final = final
        self.folder = folder
        self.advance = advance
        self.parts: list[str] = []

    @property
    def main(self) -> Path:
        """Where to write the target itself for now."""
        return self.folder / self.final.name

    def part(self, name: str) -> Path:
        """Where to write a companion that shall stand beside the target as `name`."""
        if name not in self.parts:
            self.parts.append(name)
        return self.folder / name

    def free(self, names: Sequence[str]) -> list[str]:
        """`names`, with one tag before each ending where any of them is taken in the folder."""
        tag = ""
        while True:
            tagged = [_tagged(name, tag) for name in names]
            if not any(os.path.lexists(self.final.parent / name) for name in tagged):
                return tagged
            tag = secrets.token_hex(4)


def _tagged(name: str, tag: str) -> str:
    stem, ending = os.path.splitext(name)
    return f"{stem}-{tag}{ending}" if tag else name


def part_pattern(name: str) -> str:
    """A regular expression for `name` (itself one, its last dot escaped) with or without a tag."""
    stem, _, ending = name.rpartition(r"\.")
    return rf"{stem}(?:-[0-9a-f]{{8}})?\.{ending}"


@contextlib.contextmanager
def staged(
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    rivals: Sequence[str] = (),
    companions: str = "",
    keep: Iterable[str] = (),
    advance: Callable[[int], None] = lambda nbytes: None,
) -> Iterator[Output]:
    """An Output that replaces `target` and its companions when the block ends well.

    rivals: names beside the target that would be another version of it (the single file of a
        set): like the target they must not exist unless `overwrite`, and are then removed.
    companions: a regular expression for the companions' names; the old ones go with the old
        target. keep: paths that are never removed (the source's own files).

    Symbolic links are followed, the old file's mode is kept. On any error everything old stands.
    Raises OutputError when the target exists (unless `overwrite`) or cannot be written.
    """
    final = Path(os.path.realpath(target))
    refuse_existing(target, overwrite=overwrite, rivals=rivals)
    akin = "|".join([companions, *map(re.escape, (final.name, *rivals))])
    for name in (final.name, *rivals):
        sweep(final.with_name(name), akin)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(final), suffix=SUFFIX, dir=final.parent))
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=str(target)) from error
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _try_lock(lock)
        output = Output(final, folder, advance)
        yield output
        kept = {os.path.realpath(path) for path in keep}
        old = [n for n in _old(final, rivals, companions) if str(final.parent / n) not in kept]
        _commit(output, old)
    except OSError as error:
        if isinstance(error, WtoolsError):
            raise
        raise OutputError(
            f"cannot be written: {error.strerror or error}", path=str(target)
        ) from error
    finally:
        with contextlib.suppress(OSError):
            _settle(folder, final, akin)
        os.close(lock)


def refuse_existing(
    target: str | os.PathLike[str], *, overwrite: bool, rivals: Sequence[str] = ()
) -> None:
    """Raise OutputError where `staged` would not write."""
    final = Path(os.path.realpath(target))
    if final.exists() and not final.is_file():
        raise OutputError("is not a regular file", path=str(target))
    if not final.parent.is_dir():
        raise OutputError("its folder does not exist", path=str(target))
    for path in (final, *(final.parent / name for name in rivals)):
        if os.path.lexists(path) and not overwrite:
            shown = str(target) if path == final else str(path)
            raise OutputError("exists already", path=shown, advice="Use --overwrite.")


def _old(final: Path, rivals: Sequence[str], companions: str) -> list[str]:
    """Names of the files that are part of what `final` replaces, apart from itself."""
    beside = set(os.listdir(final.parent))
    found = [name for name in rivals if name in beside]
    if companions and (final.name in beside or found):
        found += sorted(name for name in beside if re.fullmatch(companions, name))
    return found


def _commit(output: Output, old: Sequence[str]) -> None:
    final, folder = output.final, output.folder
    for name in (*output.parts, final.name):
        taken = final.parent / name
        mode = stat.S_IMODE(taken.stat().st_mode) if taken.exists() else 0o666 & ~_umask()
        os.chmod(folder / name, mode)
        _sync(folder / name)
    if output.parts or old:
        surplus = [name for name in old if name not in output.parts]
        journal = {"main": final.name, "parts": output.parts, "old": surplus}
        (folder / _JOURNAL).write_text(json.dumps(journal))
        _sync(folder / _JOURNAL)
        sync_folder(folder)
        sync_folder(final.parent)
    for name in output.parts:
        os.link(folder / name, final.parent / name)  # fails, not replaces, where one appeared
        os.unlink(folder / name)
    if output.parts:
        sync_folder(final.parent)
    os.replace(folder / final.name, final)
    sync_folder(final.parent)


def _settle(folder: Path, final: Path, akin: str) -> None:
    """Remove the hidden folder and the companions that are surplus; see the module docstring.

    akin: a regular expression for the names that the journal may mean.
    """
    journal = folder / _JOURNAL
    if journal.exists():
        waiting = (folder / final.name).exists()
        for name in _read_journal(journal, final, "parts" if waiting else "old"):
            if re.fullmatch(akin, name):
                (final.parent / name).unlink(missing_ok=True)
        sync_folder(final.parent)
        journal.unlink()  # before the main file: without it the two cases cannot be told apart
        sync_folder(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _read_journal(journal: Path, final: Path, key: str) -> list[str]:
    try:
        entries = json.loads(journal.read_bytes()[: 1 << 24])
        names = entries[key] if entries["main"] == final.name else []
        return [name for name in names if isinstance(name, str) and name != final.name]
    except (ValueError, KeyError, TypeError):  # cut short: then nothing had been renamed yet
        return []


def sweep(final: Path, akin: str) -> None:
    """Remove what killed processes left beside `final`; see `_settle`."""
    ours = re.compile(re.escape(_prefix(final)) + r"[a-z0-9_]{8}" + re.escape(SUFFIX))
    for stale in list(final.parent.iterdir()):
        if not ours.fullmatch(stale.name):
            continue
        with contextlib.suppress(OSError):
            lock = os.open(stale, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _try_lock(lock):
                    _settle(stale, final, akin)
            finally:
                os.close(lock)


def _try_lock(fd: int) -> bool:
    """Lock the folder; False where another process holds it or the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _prefix(final: Path) -> str:
    name = final.name
    if len(name.encode()) > 100:  # a file name has at most 255 bytes
        name = f"{name[:40]}-{zlib.crc32(name.encode()):08x}"
    return f".{name}."


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
