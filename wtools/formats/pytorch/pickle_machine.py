"""A pickle interpreted, never run: protocols 0 to 5 into plain values and inert records.

The opcodes are those of CPython's Lib/pickletools.py. No name is looked up and no foreign code
is called: a name becomes a `Global`, a call goes to the exact table of constructors that the
caller hands in, and whatever is not in it becomes an `Object`. Memory is accounted for while
it is built, so that a small pickle cannot become a large structure.
"""

from __future__ import annotations

import codecs
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import CorruptError, FormatError, UnsafeError
from .keys import Keys
from .reader import FAR, Reader
from .values import ArrayValue, Dict, FileBytes, Global, NumpyDType, Object, Refused, TensorValue

Constructor = Callable[..., Any]
_FLOOR = 64 << 20  # bytes of values any pickle may make, whatever its size
_SLOT, _ENTRY = 8, 100  # bytes of a stack or list slot, of a dict or memo entry
_MOST_SLOTS = 4 << 20
# What Python 2 called its modules (Lib/_compat_pickle.py), as far as checkpoints name them.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}
_RENAMED_NAMES = {("builtins", "unicode"): "str", ("builtins", "xrange"): "range"}


class Machine:
    """Interprets one pickle of `reader`.

    constructors: (module, name) -> function of the call's arguments that returns a value;
        made for the pickle's `Keys`, through which all that becomes a dict key must go.
    build: gives a record of `values` the state that follows it in the pickle.
    persistent: what to make of a persistent id; without it they are refused.
    unknown: the names that were called but are not in the table, in order of appearance.
    """

    def __init__(
        self,
        reader: Reader,
        constructors: Callable[[Keys], Mapping[tuple[str, str], Constructor]],
        build: Callable[[Any, Any], None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.reader = reader
        self.build = build
        self.persistent = persistent
        self.unknown: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self._globals: dict[tuple[str, str], Global] = {}
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._keys = Keys()
        self._constructors = constructors(self._keys)
        self._spent = 0
        self._budget = _FLOOR + 2 * reader.source.size

    def load(self) -> Any:
        """The value of the pickle. Raises CorruptError, UnsafeError or FormatError."""
        read, spot = self.reader.read, self.reader.position
        try:
            while True:
                spot = self.reader.position
                opcode = read(1)[0]
                if opcode == 0x2E:  # STOP
                    return self._stack.pop()
                _OPCODES[opcode](self)
                if len(self._stack) > _MOST_SLOTS:
                    raise self._greedy()
        except _DAMAGE as error:
            what = str(error) if isinstance(error, Refused) else "it contradicts itself"
            raise CorruptError(
                f"not a readable pickle: {what}",
                path=self.reader.source.path,
                place=f"byte {spot}",
                advice=self._advice(),
            ) from None

    def _advice(self) -> str | None:
        return f"It also calls {', '.join(self.unknown)}." if self.unknown else None

    def _charge(self, nbytes: int) -> None:
        self._spent += nbytes
        if self._spent > self._budget:
            raise self._greedy()

    def _greedy(self) -> UnsafeError:
        return UnsafeError(
            f"the pickle builds more than {self._budget >> 20} MB of Python objects",
            path=self.reader.source.path,
            place=f"byte {self.reader.position}",
        )

    def _push(self, value: Any) -> None:
        """Push a new value, its own memory accounted for."""
        self._charge(sys.getsizeof(value))
        self._stack.append(value)

    def _pop_mark(self) -> list[Any]:
        if not self._below:
            raise Refused("a mark is missing")
        items = self._stack
        self._stack = self._below.pop()
        self._spent -= 64 + _SLOT * len(self._stack)
        return items

    # --- scalars and strings -----------------------------------------------------------------

    def _count(self, width: int) -> int:
        count = int.from_bytes(self.reader.read(width), "little")
        if count > self.reader.remaining:
            raise self.reader.cut()
        return count

    def _int(self) -> None:
        line = self.reader.line()
        self._push(line == b"01" if line in (b"00", b"01") else int(line))  # 00 and 01 are bools

    def _long(self) -> None:
        self._push(int(self.reader.line().rstrip(b"L")))

    def _long_bytes(self, width: int) -> None:
        raw = self.reader.read(self._count(width))
        self._push(int.from_bytes(raw, "little", signed=True))

    def _string(self) -> None:
        line = self.reader.line()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in b"\"'":
            raise Refused("a string is not quoted")
        self._push(_python2(codecs.escape_decode(line[1:-1])[0]))

    def _short_string(self, width: int) -> None:
        self._push(_python2(self.reader.read(self._count(width))))

    def _bytes(self, width: int, kind: Callable[[bytes], Any] = bytes) -> None:
        count = self._count(width)
        if count >= FAR and self.reader.in_file:
            self._push(FileBytes(self.reader.position, count))
            self.reader.skip(count)
        else:
            self._push(kind(self.reader.read(count)))

    def _unicode(self) -> None:
        self._push(self.reader.line().decode("raw-unicode-escape"))

    def _text(self, width: int) -> None:
        count = self._count(width)
        if count > FAR:  # a character may take four times its byte
            self._charge(4 * count)
            self._spent -= 4 * count
        self._push(self.reader.read(count).decode("utf-8", "surrogatepass"))

    def _float(self) -> None:
        self._push(float(self.reader.line()))

    def _unpack(self, layout: str) -> None:
        (value,) = struct.unpack(layout, self.reader.read(struct.calcsize(layout)))
        self._push(value)

    # --- containers ---------------------------------------------------------------------------

    def _mark(self) -> None:
        self._charge(64 + _SLOT * len(self._stack))
        self._below.append(self._stack)
        self._stack = []

    def _tuple(self) -> None:
        items = tuple(self._pop_mark())
        self._push(items)

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise Refused("the stack is empty")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(items)

    def _list(self) -> None:
        items = self._pop_mark()
        self._push(items)

    def _dict(self) -> None:
        items = self._pop_mark()
        self._push({})
        self._set_items(items)

    def _frozenset(self) -> None:
        items = self._pop_mark()
        self._charge(_ENTRY * len(items))
        self._push(frozenset(map(self._keys.of, items)))

    def _append(self, items: list[Any]) -> None:
        self._charge(_SLOT * len(items) * 9 // 8)
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Object):
            target.items.extend(items)
        else:
            raise Refused(f"items are appended to a {type(target).__name__}")

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise Refused("a key has no value")
        self._charge(_ENTRY * (len(items) // 2))
        target = self._stack[-1]
        if isinstance(target, dict):
            for at in range(0, len(items), 2):
                target[self._keys.of(items[at])] = items[at + 1]
        elif isinstance(target, Object):
            target.pairs.extend(zip(items[::2], items[1::2], strict=True))
        else:
            raise Refused(f"items are set on a {type(target).__name__}")

    def _set_item(self) -> None:
        pair = self._stack[-2:]
        del self._stack[-2:]
        self._set_items(pair)

    def _append_one(self) -> None:
        item = self._stack.pop()
        self._append([item])

    def _add_items(self) -> None:
        items = self._pop_mark()
        self._charge(_ENTRY * len(items))
        target = self._stack[-1]
        if isinstance(target, set):
            target.update(map(self._keys.of, items))
        elif isinstance(target, Object):
            target.items.extend(items)
        else:
            raise Refused(f"items are added to a {type(target).__name__}")

    # --- the stack and the memo ---------------------------------------------------------------

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _drop_mark(self) -> None:
        self._pop_mark()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise Refused(f"nothing was remembered under {index}")
        self._stack.append(self._memo[index])

    def _put(self, index: int) -> None:
        if index < 0:
            raise Refused("something is remembered under a negative number")
        if index not in self._memo:
            self._charge(_ENTRY)
        self._memo[index] = self._stack[-1]

    def _read_int(self, width: int) -> int:
        return int.from_bytes(self.reader.read(width), "little")

    # --- names and calls ----------------------------------------------------------------------

    def _global(self, module: str, name: str) -> Global:
        module = _RENAMED.get(module, module)
        name = _RENAMED_NAMES.get((module, name), name)
        known = self._globals.get((module, name))
        if known is None:
            self._charge(_ENTRY + sys.getsizeof(module) + sys.getsizeof(name))
            known = self._globals[module, name] = Global(module, name)
            self.names[str(known)] = None
        return known

    def _global_lines(self) -> Global:
        module, name = self.reader.line().decode(), self.reader.line().decode()
        return self._global(module, name)

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("a name that is no string is looked up")
        self._stack.append(self._global(module, name))

    def _extension(self, width: int) -> None:
        self._stack.append(self._global("copyreg", f"extension {self._read_int(width)}"))

    def _call(self, constructor: Any, args: Any, keywords: Any = None) -> Any:
        if not isinstance(args, tuple):
            raise Refused("a call's arguments are no tuple")
        if isinstance(constructor, Global):
            known = self._constructors.get((constructor.module, constructor.name))
            if known is not None and not keywords:
                try:
                    value = known(*args)
                except _DAMAGE as error:
                    raise Refused(f"{constructor} is called with what it does not take") from error
                self._charge(_COSTS.get(value.__class__) or sys.getsizeof(value))
                return value
            self.unknown[str(constructor)] = None
        elif not isinstance(constructor, Object):
            raise Refused(f"a {type(constructor).__name__} is called")
        self._charge(250)
        return Object(constructor, args, keywords)

    def _reduce(self) -> None:
        args = self._stack.pop()
        self._stack[-1] = self._call(self._stack[-1], args)

    def _new_object_keywords(self) -> None:
        keywords, args = self._stack.pop(), self._stack.pop()
        self._stack[-1] = self._call(self._stack[-1], args, keywords)

    def _object(self) -> None:
        items = self._pop_mark()
        self._stack.append(self._call(items[0], tuple(items[1:])))

    def _instance(self) -> None:
        constructor, items = self._global_lines(), self._pop_mark()
        self._stack.append(self._call(constructor, tuple(items)))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Object | Dict):
            target.state = state
        elif isinstance(target, TensorValue | ArrayValue | NumpyDType):
            self.build(target, state)
        elif not isinstance(target, Global):  # a pickle that changes a class changes nothing here
            raise Refused(f"a {type(target).__name__} is given a state")

    def _persistent(self, key: Any) -> None:
        if self.persistent is None:
            raise FormatError(
                "the pickle refers to data outside of it",
                path=self.reader.source.path,
                place=f"byte {self.reader.position}",
            )
        self._charge(250)
        self._stack.append(self.persistent(key))

    def _frame(self) -> None:
        self._count(8)

    def _protocol(self) -> None:
        version = self._read_int(1)
        if version > 5:
            raise Refused(f"it is of protocol {version}")

    def _out_of_band(self) -> None:
        raise Refused("it needs buffers that are not in the file")

    def _unknown_opcode(self) -> None:
        raise Refused("there is no such opcode")


# Bytes of a record and of what becomes of it later (a Tensor with its data, storage and facts).
_COSTS = {TensorValue: 1200, ArrayValue: 1200, NumpyDType: 200, Object: 250}
_DAMAGE = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    struct.error,
)


def _python2(raw: bytes) -> str | bytes:
    """A Python 2 str: text where it is UTF-8, else the bytes it was."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _opcodes() -> list[Callable[[Machine], None]]:
    m = Machine
    named: dict[bytes, Callable[[Machine], None]] = {
        b"I": m._int,
        b"J": lambda s: s._unpack("<i"),
        b"K": lambda s: s._stack.append(s.reader.read(1)[0]),
        b"M": lambda s: s._unpack("<H"),
        b"L": m._long,
        b"\x8a": lambda s: s._long_bytes(1),
        b"\x8b": lambda s: s._long_bytes(4),
        b"S": m._string,
        b"T": lambda s: s._short_string(4),
        b"U": lambda s: s._short_string(1),
        b"B": lambda s: s._bytes(4),
        b"C": lambda s: s._bytes(1),
        b"\x8e": lambda s: s._bytes(8),
        b"\x96": lambda s: s._bytes(8, bytearray),
        b"\x97": m._out_of_band,
        b"\x98": lambda s: None,
        b"N": lambda s: s._stack.append(None),
        b"\x88": lambda s: s._stack.append(True),
        b"\x89": lambda s: s._stack.append(False),
        b"V": m._unicode,
        b"\x8c": lambda s: s._text(1),
        b"X": lambda s: s._text(4),
        b"\x8d": lambda s: s._text(8),
        b"F": m._float,
        b"G": lambda s: s._unpack(">d"),
        b"]": lambda s: s._push([]),
        b"a": m._append_one,
        b"e": lambda s: s._append(s._pop_mark()),
        b"l": m._list,
        b")": lambda s: s._stack.append(()),
        b"t": m._tuple,
        b"\x85": lambda s: s._tuple_of(1),
        b"\x86": lambda s: s._tuple_of(2),
        b"\x87": lambda s: s._tuple_of(3),
        b"}": lambda s: s._push({}),
        b"d": m._dict,
        b"s": m._set_item,
        b"u": lambda s: s._set_items(s._pop_mark()),
        b"\x8f": lambda s: s._push(set()),
        b"\x90": m._add_items,
        b"\x91": m._frozenset,
        b"0": m._pop,
        b"2": lambda s: s._stack.append(s._stack[-1]),
        b"(": m._mark,
        b"1": m._drop_mark,
        b"g": lambda s: s._get(int(s.reader.line())),
        b"h": lambda s: s._get(s._read_int(1)),
        b"j": lambda s: s._get(s._read_int(4)),
        b"p": lambda s: s._put(int(s.reader.line())),
        b"q": lambda s: s._put(s._read_int(1)),
        b"r": lambda s: s._put(s._read_int(4)),
        b"\x94": lambda s: s._put(len(s._memo)),
        b"\x82": lambda s: s._extension(1),
        b"\x83": lambda s: s._extension(2),
        b"\x84": lambda s: s._extension(4),
        b"c": lambda s: s._stack.append(s._global_lines()),
        b"\x93": m._stack_global,
        b"R": m._reduce,
        b"b": m._build,
        b"i": m._instance,
        b"o": m._object,
        b"\x81": m._reduce,  # NEWOBJ: a class called as cls.__new__(cls, *args)
        b"\x92": m._new_object_keywords,
        b"\x80": m._protocol,
        b"\x95": m._frame,  # FRAME: a hint for reading ahead
        b"P": lambda s: s._persistent(s.reader.line().decode()),
        b"Q": lambda s: s._persistent(s._stack.pop()),
    }
    table: list[Callable[[Machine], None]] = [m._unknown_opcode] * 256
    for code, handler in named.items():
        table[code[0]] = handler
    return table


_OPCODES = _opcodes()
