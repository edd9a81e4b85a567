"""The standard streams as a program may find them: closed, by a service, a window or cron; or not to be written to."""

from __future__ import annotations

import contextlib
import os
import sys

import click


def open_closed_streams() -> None:
    """Give each standard stream that is closed the null device, so that all else need not think of it.

    In the order of their numbers, which open files would otherwise get: what a library prints to number 2 would
    go into an index.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace"))


def say(message: str) -> None:
    """A line on stderr. Where nobody can read it, what is done is worth no less."""
    with contextlib.suppress(OSError):
        click.echo(message, err=True)
