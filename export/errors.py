"""The one error of the training side; the command line turns it into a line on stderr."""

from itl_infer.errors import ItlError


class ExportError(ItlError):
    """What is wrong, where, and how to mend it, in one line."""
