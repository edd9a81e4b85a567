"""Ctrl-C ends a command soon, whatever it waits for: a reader with a large picture, a library that looks for none."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

_SECONDS = 1.5
_SECONDS_OF_RAY = 10.0  # which has processes to end


def end_soon_when_interrupted(message: str, code: int) -> None:
    """From an interrupt on, which is raised as ever, this process has a short time to end; then it is ended."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # of a program in the background, it is ignored
    interrupted = threading.Lock()
    interrupted.acquire()

    def interrupt(number: int, frame: Any) -> NoReturn:
        if interrupted.locked():
            interrupted.release()
        signal.default_int_handler(number, frame)

    def end() -> None:
        with interrupted:
            time.sleep(_SECONDS_OF_RAY if "ray" in sys.modules else _SECONDS)
            try:
                os.write(2, f"{message}\n".encode())
            finally:
                os._exit(code)

    signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=end, name="itl-interrupts", daemon=True).start()
