"""The errors this package raises on purpose; each message is one line that says what, where and how to mend.

ItlError
├── BundleError       a bundle that is missing, damaged, too new or inconsistent
├── IndexStoreError   an index that cannot be opened, or was made with another bundle
├── FolderError       a folder of pictures that is missing or has none
├── ImageError        a picture that cannot be embedded
│   ├── ImageMemoryError    one for which there is not enough memory now
│   └── ReaderMissingError  one of a format that an extra reads; a MissingExtraError too
├── CaptionsError     captions, splits or labels that cannot be used
├── QueryError        a query that cannot be answered, such as one without a known word
├── TeachError        a name that cannot be taught, found, or read from a file
├── SheetError        a contact sheet that cannot be made
├── PublishError      a published folder that cannot be made, or is damaged
├── ClusterError      work on a cluster that cannot be begun, or go on
└── MissingExtraError a package that an extra of this one would have installed
"""

from __future__ import annotations

import re

_LONGEST_REASON = 300  # characters of what a library says; some list all that they tried


class ItlError(Exception):
    """Base of every error that this package raises on purpose."""


class BundleError(ItlError):
    """A bundle is missing, damaged, of a newer format, or does not agree with itself."""


class IndexStoreError(ItlError):
    """An index is missing, damaged, in use, or was made with another bundle."""


class FolderError(ItlError):
    """A folder of pictures is missing, or has none to embed."""


class ImageError(ItlError):
    """One picture cannot be embedded: `name` says which, `reason` says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both, so that the error survives pickling
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class ImageMemoryError(ImageError):
    """There is not enough memory to decode a picture, not even alone and as small as it goes: it may be quite whole."""


class CaptionsError(ItlError):
    """Captions, splits or labels are missing, of an unknown format, malformed, or of other pictures."""


class QueryError(ItlError):
    """A query is empty, has no word that the bundle knows, or asks for a picture that is not there."""


class TeachError(ItlError):
    """A name cannot be taught from what was given, is not there, or its file cannot be used."""


class SheetError(ItlError):
    """A contact sheet cannot be made or written."""


class PublishError(ItlError):
    """A published folder cannot be made or written, or is not what its manifest says."""


class ClusterError(ItlError):
    """A cluster, or what it is to read or write, cannot be reached, is not what it should be, or failed."""


class MissingExtraError(ItlError):
    """What was asked for needs `package`, which is not installed; the extra `extra` of itl-infer brings it."""

    def __init__(self, wanted: str, package: str, extra: str) -> None:
        super().__init__(wanted, package, extra)  # all three, so that the error survives pickling
        self.wanted, self.package, self.extra = wanted, package, extra

    def __str__(self) -> str:
        return f"{self.wanted} needs {self.package}: pip install 'itl-infer[{self.extra}]'"


class ReaderMissingError(ImageError, MissingExtraError):
    """What reads a picture's format is not installed: the picture may be quite whole.

    `suffix` is the ending under which such pictures are counted, ".heic"; `extra` brings what reads them.
    """

    def __init__(self, name: str, format_name: str, package: str, extra: str, suffix: str) -> None:
        MissingExtraError.__init__(self, f"reading {format_name}", package, extra)
        self.args = (name, format_name, package, extra, suffix)
        self.name, self.reason, self.suffix = name, MissingExtraError.__str__(self), suffix

    def __str__(self) -> str:
        return ImageError.__str__(self)


PreviewError = MissingExtraError  # its name until previews were no longer the only extra


def reason_of(error: BaseException) -> str:
    """What an error says, on one line that is not endless; of one of the system's, its reason."""
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split())[:_LONGEST_REASON] or type(error).__name__


_SHORTAGE = re.compile(
    "out of memory|(insufficient|not enough|unsufficient) memory|memory allocation|cannot allocate|bad_alloc"
    "|bad allocation|failed to allocate|error -4 while",  # zlib's
    re.IGNORECASE,
)


def is_shortage_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, in this process or in a library that says so in words alone."""
    return isinstance(error, MemoryError) or bool(
        _SHORTAGE.search(f"{error} {type(error).__name__.replace('Memory', ' memory')}")
    )
