"""The commands of the training side; the only package of it that prints or exits."""

from export.cli.group import main

__all__ = ["main"]
