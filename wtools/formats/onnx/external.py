"""External data: files that an ONNX model names, opened only where they lie beside it.

A location is a relative POSIX path. It is walked component by component with openat and
O_NOFOLLOW from the model's own folder, so that neither `..`, nor a link anywhere on the way, nor
a swap between check and use can lead out of it.
"""

from __future__ import annotations

import os
import re
import stat

from ...errors import CorruptError, MissingError, UnsafeError, WtoolsError
from ...files import Source

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COPY = "Copy the file itself into the model's folder if you trust it."


class ExternalFiles:
    """The external data files of one model, each opened once."""

    def __init__(self, model: Source) -> None:
        self.model = model
        self._open: dict[str, Source] = {}
        self._nbytes = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def nbytes(self) -> int:
        """Bytes of the files opened so far."""
        return self._nbytes

    def place(self, entries: tuple[tuple[str, str], ...], nbytes: int) -> tuple[Source, int]:
        """The file and the offset of a tensor of `nbytes` bytes from its external_data.

        Raises MissingError, UnsafeError or CorruptError, without the tensor's name.
        """
        info = dict(entries)
        if len(info) < len(entries):
            raise self._corrupt("external_data has a key twice")
        if not info.get("location"):
            raise self._corrupt("external_data has no location")
        offset = self._number(info, "offset", 0)
        length = self._number(info, "length", nbytes)
        location = info["location"]
        source = self._source(location)
        if offset + length > source.size:
            raise self._corrupt(
                f"external data {location!r}: bytes {offset} to {offset + length} are needed, "
                f"the file has {source.size}",
                "The file is probably cut short: copy or download it again.",
            )
        if length != nbytes:
            raise self._corrupt(
                f"external data {location!r}: length says {length} bytes, "
                f"shape and element type need {nbytes}"
            )
        return source, offset

    def _number(self, info: dict[str, str], key: str, default: int) -> int:
        text = info.get(key, str(default))
        if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
            raise self._corrupt(f"external_data: {key} is {text[:40]!r}, not a number of bytes")
        return int(text)

    def _source(self, location: str) -> Source:
        parts = self._parts(location)
        name = "/".join(parts)
        if name not in self._open:
            self._open[name] = self._walk(parts, location)
            self._nbytes += self._open[name].size
        return self._open[name]

    def _parts(self, location: str) -> list[str]:
        """The path's components. Raises UnsafeError for one that leaves the folder."""
        if location.startswith(("/", "\\")) or re.match("[A-Za-z]:", location):
            raise self._unsafe(location, "is an absolute path")
        if "\0" in location or "\\" in location:
            raise self._unsafe(location, "has a backslash or a NUL in it")
        parts = [part for part in location.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self._unsafe(location, "leaves the model's folder (..)")
        if not parts:
            raise self._unsafe(location, "is the model's folder itself")
        return parts

    def _walk(self, parts: list[str], location: str) -> Source:
        folder = os.path.dirname(self.model.path) or "."
        opened = []
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(at)
            for part in parts[:-1]:
                self._no_link(part, at, location)
                at = os.open(part, _FOLDER, dir_fd=at)
                opened.append(at)
            self._plain(self._no_link(parts[-1], at, location), location)
            fd = os.open(parts[-1], _FILE, dir_fd=at)
        except FileNotFoundError:
            raise MissingError(
                f"its external data file {location!r} is not there",
                path=self.model.path,
                advice="Put it beside the model: the weights are in it.",
            ) from None
        except OSError as error:
            raise MissingError(
                f"its external data file {location!r} cannot be opened: {error.strerror}",
                path=self.model.path,
            ) from error
        finally:
            for descriptor in opened:
                os.close(descriptor)
        try:
            self._plain(os.fstat(fd), location)
        except WtoolsError:
            os.close(fd)
            raise
        return Source(os.path.join(folder, *parts) if folder != "." else "/".join(parts), fd=fd)

    def _no_link(self, part: str, folder: int, location: str) -> os.stat_result:
        status = os.stat(part, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            raise self._unsafe(location, f"goes through a symbolic link ({part})", _COPY)
        return status

    def _plain(self, status: os.stat_result, location: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._unsafe(location, "is not a regular file")
        if status.st_nlink > 1:
            raise self._unsafe(location, "is a hard link to a file with other names", _COPY)

    def _unsafe(self, location: str, reason: str, advice: str | None = None) -> UnsafeError:
        return UnsafeError(
            f"external data {location[:200]!r} {reason}", path=self.model.path, advice=advice
        )

    def _corrupt(self, reason: str, advice: str | None = None) -> CorruptError:
        return CorruptError(reason, path=self.model.path, advice=advice)

    def close(self) -> None:
        for source in self._open.values():
            source.close()
