"""Messages as protobuf writes them (https://protobuf.dev/programming-guides/encoding/), field by field.

What is no message by the letter is refused, where onnxruntime's own reader would make something of it: both must see
the same fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Piece: TypeAlias = "bytes | memoryview"

NUMBER, BYTES = 0, 2  # wire types: a varint; a text, a message or packed numbers
_WIDTHS = {1: 8, 5: 4}  # bytes of the wire types of fixed width
_LARGEST_KEY = 2**32  # readers drop what is above, and see another field
_NUMBER_MASK = 2**64 - 1


class Field(NamedTuple):
    """A field of a message."""

    number: int
    kind: int  # its wire type
    whole: memoryview
    content: memoryview  # of a number: its bytes as they stand there

    def message(self) -> Piece:
        """What it holds; nothing where it is of another type, as readers skip it then."""
        return self.content if self.kind == BYTES else b""

    def text(self) -> str:
        return bytes(self.message()).decode()

    def numbers(self) -> list[int]:
        """One, or several that are packed, of 64 bits and a sign."""
        if self.kind not in (NUMBER, BYTES):
            return []
        found, place = [], 0
        while place < len(self.content):
            value, place = varint(self.content, place)
            value &= _NUMBER_MASK
            found.append(value - 2**64 if value >= 2**63 else value)
        return found


def fields(message: Piece) -> Iterator[Field]:
    """The fields of a message. ValueError where it is none."""
    message = memoryview(message)
    place = 0
    while place < len(message):
        start = place
        key = message[place]
        place += 1
        if key >= 0x80:
            key, place = varint(message, start)
        if not 8 <= key < _LARGEST_KEY:
            raise ValueError(f"not a message of protobuf: field {key >> 3}")
        kind = key & 7
        if kind == NUMBER:
            _, end = varint(message, place)
        elif kind == BYTES:
            length = message[place] if place < len(message) else 0x80
            place += 1
            if length >= 0x80:
                length, place = varint(message, place - 1)
            end = place + length
        elif kind in _WIDTHS:
            end = place + _WIDTHS[kind]
        else:
            raise ValueError(f"not a message of protobuf: wire type {kind}")
        if end > len(message):
            raise ValueError("not a message of protobuf: it ends too soon")
        yield Field(key >> 3, kind, message[start:end], message[place:end])
        place = end


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, seven bits a byte, the lowest first; and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("not a message of protobuf: a number without an end")


def as_field(number: int, content: bytes) -> bytes:
    """A field that holds a text or a message."""
    return head_of_field(number, len(content)) + content


def as_number(number: int, value: int) -> bytes:
    """A field that holds a number of 0 or more."""
    return _as_varint(number << 3 | NUMBER) + _as_varint(value)


def head_of_field(number: int, length: int) -> bytes:
    """What stands before that."""
    return _as_varint(number << 3 | BYTES) + _as_varint(length)


def _as_varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
