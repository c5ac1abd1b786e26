"""Notes of a reader that an analysis has to find again, whatever their words."""

from __future__ import annotations

UNSAFE_PICKLE = "unsafe-pickle"
SURPLUS_SHARDS = "surplus-shards"


class Note(str):
    """A sentence of `WeightTree.notes`; `about`: what it is about, one of the names above."""

    __slots__ = ("about",)
    about: str

    def __new__(cls, text: str, about: str) -> Note:
        note = super().__new__(cls, text)
        note.about = about
        return note


def within(place: str, note: str) -> str:
    """The note of a part (a shard) as a note of the whole: about the same."""
    told = f"{place}: {note}"
    return Note(told, note.about) if isinstance(note, Note) else told
