"""Which of many words are spelled most like one that is not among them: what may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

_NEAR = 0.75  # twice the letters that two words share, over the letters of both: "surfr" and "surfer" 0.91
_KINDS = 32  # of letters; those of one kind count as the same, which lets through more, and never less


class NearWords:
    """Words to be asked for those that are spelled like another one.

    What `difflib.get_close_matches` finds, which looks at each of them; here it looks at those alone that have enough
    letters in common, whatever their order.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._lengths = np.array([len(word) for word in words], np.int64)
        self._letters = _count_letters(words, self._lengths)

    def find(self, word: str, n: int) -> list[str]:
        """The `n` nearest to a word, best first; fewer, or none, where no more are near."""
        length = np.array([len(word)])
        shared = np.minimum(self._letters, _count_letters([word], length)).sum(axis=1, dtype=np.int64)
        are_enough = 2 * shared >= _NEAR * (self._lengths + length)
        return get_close_matches(
            word, [self._words[i] for i in np.flatnonzero(are_enough).tolist()], n, _NEAR
        )


def _count_letters(words: Sequence[str], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """How many letters of each kind each of (N,) words has, (N, 32)."""
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), "<u4")
    rows = np.repeat(np.arange(len(words)), lengths)
    counts = np.bincount(rows * _KINDS + codes % _KINDS, minlength=len(words) * _KINDS)
    return counts.reshape(len(words), _KINDS).clip(max=2**16 - 1).astype(np.uint16)
