"""Processes of one's own that answer questions within limits of memory and time; only numbers and texts come back.

One side asks a pool (`Children`), the other is a program that calls `answer_questions`. What comes back is JSON and
bytes, and never code: whoever has taken over such a process has nothing of the one that asked it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

Head = dict[str, Any]  # of a question or an answer, as JSON
Body = bytes | memoryview

_LENGTHS = struct.Struct("<IQ")  # of a head, and of the bytes behind it
_LONGEST_HEAD = 2**24
_LONGEST_QUESTION = 2**40
_GROWN = 2**27  # bytes: a child that keeps so much more than at its start is replaced


def send(pipe: IO[bytes], head: Head, *parts: Body) -> None:
    """Write a head, and parts of a body that are read as one."""
    packed = json.dumps(head).encode()
    pipe.write(_LENGTHS.pack(len(packed), sum(len(part) for part in parts)))
    pipe.write(packed)
    for part in parts:
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes], most: int) -> tuple[Head, bytes] | None:
    """None where the other end is gone, or says what cannot be."""
    start = pipe.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    head_length, length = _LENGTHS.unpack(start)
    if head_length > _LONGEST_HEAD or length > most:
        return None
    head, body = pipe.read(head_length), pipe.read(length)
    if len(head) < head_length or len(body) < length:
        return None
    try:
        answer = json.loads(head)
    except (ValueError, RecursionError):
        return None
    return (answer, body) if isinstance(answer, dict) else None


def is_possible() -> bool:
    """Whether this program can start Python."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def room() -> int | None:
    """Bytes that this process may have by limits of its own; None without such limits."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        return None if limit == resource.RLIM_INFINITY else max(0, limit - address_space())
    except (ImportError, OSError):
        return None


def address_space() -> int:
    """Bytes of addresses that this process has; 0 where that is not to be had."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


# The side that asks.

_SAME_PATH = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_starter = ThreadPoolExecutor(1, thread_name_prefix="itl-apart")


@dataclass(frozen=True)
class Died:
    """Why there is no answer."""

    status: int  # of its process
    is_late: bool  # it was ended, as the clock had run out

    @property
    def computed_too_long(self) -> bool:
        """Whether it was the system that ended it, at the limit of computing."""
        return self.status == -getattr(signal, "SIGXCPU", -1)


class _Child:
    def __init__(self, program: str) -> None:
        # Of a thread that lasts, not of one that may end before this does: the child ends with the thread.
        self.process = _starter.submit(self._start, program).result()

    @staticmethod
    def _start(program: str) -> subprocess.Popen[bytes]:
        paths = json.dumps([str(Path(path).absolute()) for path in sys.path])
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _SAME_PATH + program, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "MALLOC_ARENA_MAX": "2"},
        )

    def ask(self, head: Head, body: Body, most: int, seconds: float) -> tuple[Head, bytes] | Died:
        """Its answer, or how it died of the question."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        is_late = threading.Event()

        def end_late() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(seconds, end_late)
        timer.daemon = True
        timer.start()
        answer = None
        try:
            send(process.stdin, head, body)
            answer = receive(process.stdout, most)
        except (OSError, ValueError):  # it is gone
            pass
        finally:
            timer.cancel()
        if answer is not None:
            return answer
        self.end()
        return Died(self.process.returncode, is_late.is_set())

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was not read there is not wanted any more
                assert pipe is not None
                pipe.close()
        self.process.wait()


class Children:
    """At most `most` processes that run a program of Python's; each is kept for the next question."""

    def __init__(self, program: str, most: int) -> None:
        self._program, self._most = program, most
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._free = threading.Semaphore(self._most)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def ask(self, head: Head, body: Body, most: int, seconds: float) -> tuple[Head, bytes] | Died:
        """The answer, of at most `most` bytes; or how a process died of it, which has `seconds`.

        Raises OSError or RuntimeError where no process can be started.
        """
        with self._free:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is not None and child.process.poll() is not None:
                child.end()
                child = None
            if child is None:
                child = _Child(self._program)
            is_good = False
            try:
                answer = child.ask(head, body, most, seconds)
                is_good = not isinstance(answer, Died) and not answer[0].get("is_last")
            finally:  # an interrupt leaves it in the middle of its work
                if is_good:
                    with self._lock:
                        self._idle.append(child)
                else:
                    child.end()
            return answer

    def end(self) -> None:
        """End those that wait for a question."""
        with self._lock:
            for child in self._idle:
                child.end()
            self._idle.clear()


_pools: weakref.WeakSet[Children] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for pool in _pools:
        pool.end()


def _begin_again() -> None:
    """In a process that was forked: two would talk with one child."""
    global _starter
    _starter = ThreadPoolExecutor(1, thread_name_prefix="itl-apart")
    for pool in _pools:
        pool._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


# The side that answers.


def answer_questions(answer: Callable[[Head, bytes], tuple[Head, Sequence[Body]]]) -> None:
    """Answer until the other end is gone: what a child does all its life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to all; the one that asks ends this one
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whatever libraries print
    _end_with_parent()
    first = address_space()
    while (question := receive(questions, _LONGEST_QUESTION)) is not None:
        head, parts = answer(*question)
        send(answers, {**head, "is_last": address_space() > first + _GROWN}, *parts)


def limit(memory: int, room: int | None, seconds: float) -> bool:
    """Limit what this process may take from now on, where the system can; whether its memory is short already.

    `room` is what the process that asks may have by limits of its own.
    """
    try:
        import resource
    except ImportError:  # Windows: there is the clock
        return False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))
    is_short = room is not None and room < memory
    most = address_space() + (min(memory, room) if room is not None else memory)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    return is_short


def _end_with_parent() -> None:
    """Where the system can do that: elsewhere this ends when it reads that nobody asks any more."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
