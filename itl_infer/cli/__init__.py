"""The commands of itl-infer: the only package that prints or exits."""

from itl_infer.cli.group import main, run

__all__ = ["main", "run"]
