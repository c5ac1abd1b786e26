"""Every error a user can meet: each names the file, the place in it, the reason and what to do.

The command line turns `exit_code` into the process's exit status and `code` into the JSON
field `error`; both are part of the public contract (see docs/cli.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable


def printable(text: object) -> str:
    """`text` with control characters escaped, so that a hostile name cannot drive a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii")
        for c in str(text)
    )


class WtoolsError(Exception):
    """Base of all errors raised on purpose.

    `reason` says what is wrong; `path` the file; `place` where in it (a byte offset, a tensor's
    name, a zip member); `advice` what the user can do about it.
    """

    code = "error"
    exit_code = 3

    def __init__(
        self,
        reason: str,
        *,
        path: str | os.PathLike[str] | None = None,
        place: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = None if path is None else os.fspath(path)
        self.place = place
        self.advice = advice

    def __str__(self) -> str:
        parts = [part for part in (self.path, self.place, self.reason) if part]
        text = ": ".join(printable(part) for part in parts)
        return f"{text}. {printable(self.advice)}" if self.advice else text


class MissingError(WtoolsError):
    """The input is not there, or may not be read."""

    code = "missing"


class FormatError(WtoolsError):
    """The input is intact as far as we know, but no format here understands it."""

    code = "not-understood"


class CorruptError(WtoolsError):
    """The input contradicts its own format: cut, overlapping, out of bounds, absurd."""

    code = "corrupt"


class UnsafeError(WtoolsError):
    """Reading the input would run code, leave its folder, or take memory it only claims."""

    code = "unsafe"


class UsageError(WtoolsError):
    """The request itself is wrong."""

    code = "usage"
    exit_code = 2


class NameNotFoundError(UsageError, KeyError):
    """A name that is not in the tree; the message offers the nearest ones."""

    code = "name-not-found"

    def __init__(
        self, name: str, names: Iterable[str], *, path: str | None = None, what: str = "tensor"
    ) -> None:
        import difflib

        near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.4)
        advice = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else None
        super().__init__(f"no {what} named {name!r}", path=path, advice=advice)


class MissingExtraError(UsageError, ImportError):
    """An optional package is needed for this and is not installed."""

    code = "missing-extra"


class OutputError(WtoolsError):
    """The output could not be written; whatever stood under its name still stands."""

    code = "output"
    exit_code = 4


class UnsupportedError(OutputError):
    """The target format cannot hold what it was asked to hold."""

    code = "unsupported"
