"""The few things of protobuf that ONNX graphs are read and edited with, which needs no package.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

_BYTES = 2  # the wire type of texts and messages


def fields(message: bytes | memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a message: number, the whole field, and what it holds. ValueError where it is none."""
    message = memoryview(message)
    place = 0
    while place < len(message):
        start = place
        key, place = varint(message, place)
        match key & 7:
            case 0:
                _, end = varint(message, place)
            case 1:
                end = place + 8
            case 2:
                length, place = varint(message, place)
                end = place + length
            case 5:
                end = place + 4
            case other:
                raise ValueError(f"not a message of protobuf: wire type {other}")
        if end > len(message):
            raise ValueError("not a message of protobuf: it ends too soon")
        yield key >> 3, message[start:end], message[place:end]
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


def field(number: int, content: bytes) -> bytes:
    """A field that holds a text or a message."""
    return head(number, len(content)) + content


def head(number: int, length: int) -> bytes:
    """What stands before that."""
    return _as_varint(number << 3 | _BYTES) + _as_varint(length)


def _as_varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
