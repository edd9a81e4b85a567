"""The words of a pickled tokenizer, and nothing that a pickle would run."""

from __future__ import annotations

import collections
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.from_keras.tokenizer import read_stems
from export.limited import reader
from tests.export.from_keras.helpers import (
    FOUND,
    KERAS,
    NEW_TOKENIZER,
    TOKENIZER,
    TOKENIZER_CLASS,
    Config,
    one_line,
    tokenizer_pickle,
)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class TestTokenizer:
    @pytest.mark.parametrize(
        ("thing", "message"),
        [
            (Call(os.system, "echo run > ran"), f"asks for {os.system.__module__}.system"),
            (Call(eval, "open('ran', 'w')"), "asks for builtins.eval"),
            (Call(getattr, {}, "keys"), "asks for builtins.getattr"),
            (Call(collections.OrderedDict.fromkeys, "ab"), "asks for builtins.getattr"),
            (collections.Counter("ab"), "asks for collections.Counter"),
            (np.float64(3), "asks for numpy"),
            (KERAS, "asks for pathlib"),
        ],
    )
    @pytest.mark.parametrize("protocol", [3, 5])
    def test_a_pickle_that_imports_or_calls(
        self, thing: object, message: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "bad.pickle"
        path.write_bytes(pickle.dumps({"word_index": thing}, protocol=protocol))
        with pytest.raises(ExportError) as error:
            read_stems(path)
        assert message in one_line(error)
        assert not (tmp_path / "ran").exists()

    def test_dotted_names_lead_nowhere(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.")
        with pytest.raises(ExportError, match=r"asks for collections\.OrderedDict\.fromkeys"):
            read_stems(path)

    def test_what_it_asks_for_is_not_said_at_endless_length(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"c" + b"m" * 10_000 + b"\nname\n.")
        with pytest.raises(ExportError, match="asks for mmm") as error:
            read_stems(path)
        assert len(one_line(error)) < 1000

    def test_what_one_pickle_does_to_a_class_no_other_sees(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"\x80\x03" + TOKENIZER_CLASS + b"(N}X\x0a\x00\x00\x00word_indexK\x01stb.")
        with pytest.raises(ExportError, match="holds a type, expected a Keras Tokenizer"):
            read_stems(path)
        path.write_bytes(NEW_TOKENIZER + b".")
        with pytest.raises(ExportError, match="no words in its word_index"):
            read_stems(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is damaged or no pickled Keras tokenizer (EOFError"),
            (TOKENIZER.read_bytes()[:300], "is damaged or no pickled Keras tokenizer ("),
            (b"version https://git-lfs.github.com/spec/v1\n", "is damaged or no pickled Keras tokenizer ("),
            (b"\x80\x03X\x01\x00\x00\x00aQ.", "is damaged or no pickled Keras tokenizer (UnpicklingError"),
            (pickle.dumps({"man": 1}), "holds a dict, expected a Keras Tokenizer"),
            (b"\x80\x03ccollections\nOrderedDict\n)R.", "holds a Words, expected a Keras Tokenizer"),
        ],
    )
    def test_damaged_and_foreign(self, content: bytes, message: str, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(content)
        with pytest.raises(ExportError) as error:
            read_stems(path)
        assert f"{path} {message}" in one_line(error)

    def test_what_takes_all_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes((FOUND / "takes-gigabytes").read_bytes()[1:])
        with pytest.raises(ExportError) as error:
            read_stems(path)
        assert f"{path} is damaged or no pickled Keras tokenizer (" in one_line(error)

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="tuples remember their hashes there")
    def test_what_is_hashed_for_ever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "SECONDS", 0.5)
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"\x80\x03})" + b"2\x86" * 60 + b"K\x01s.")  # a key of 2**60 tuples
        with pytest.raises(ExportError, match="what reads it did not end within"):
            read_stems(path)

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({"word_index": {}}, "has no words"),
            ({"word_index": ["man"]}, "has no words"),
            ({"word_index": {"man": 1, "dog": 3}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 0, "dog": 1}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, "dog": True}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, 7: 2}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, "a\nb": 2}}, "word 2 is 'a\\nb', expected a word without white space"),
            ({"word_index": {"<oov>": 1, "man": 2}, "oov_token": "<oov>"}, "has an oov_token"),
            ({"word_index": {"man": 1}, "num_words": 1}, "num_words is 1, expected a number above 1"),
        ],
    )
    def test_word_index(self, state: Config, message: str, tmp_path: Path) -> None:
        with pytest.raises(ExportError) as error:
            read_stems(tokenizer_pickle(tmp_path, **state))
        assert message in one_line(error)

    def test_num_words_counts_the_padding(self, tmp_path: Path) -> None:
        """Keras' matrix then has num_words columns, column 0 unused: words 1 to num_words - 1."""
        words = {"man": 1, "dog": 2, "wave": 3}
        assert read_stems(tokenizer_pickle(tmp_path, word_index=words, num_words=3)) == ["man", "dog"]
        assert read_stems(tokenizer_pickle(tmp_path, word_index=words, num_words=9)) == list(words)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="no tokenizer at"):
            read_stems(tmp_path)
