"""Changes of an input, at random: bits, bytes, parts cut out, said twice, or put in from a list of what hurts."""

from __future__ import annotations

import random

_HURTFUL = (
    *(
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"-1",
        b"1e400",
        b"NaN",
        b"../",
        b"/",
        b"\n",
        b"\r\n",
        b'"',
        b"\\ud800",
        b"{",
        b"[",
    ),
    *(
        b"99999999999999999999",
        b"\x80\x02",
        b"\xe2\x80\xae",
        b"null",
        b"%00",
        b"&",
        b"true",
        b"a" * 2000,
        b"[" * 2000,
    ),
)


def changed(data: bytes, chance: random.Random) -> bytes:
    """The same with one to four changes."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(content):
            content[place] = chance.randrange(256)
        elif kind == 2:
            del content[place : place + chance.randint(1, 20)]
        elif kind == 3:
            content[place:place] = content[place : place + chance.randint(1, 200)]
        else:
            content[place : place + chance.randint(0, 4)] = chance.choice(_HURTFUL)
    return bytes(content)
