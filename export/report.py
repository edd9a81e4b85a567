"""What a long job tells whoever watches it; the command line shows it, other callers may ignore it."""

from __future__ import annotations


class Reporter:
    """Says nothing. `export.cli.console` has the one that speaks."""

    def say(self, line: str) -> None:
        """A stage begins, or a result is known."""

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Of the current stage, `done` of `total`; `note` holds the latest figures."""
