"""onnxruntime, which nothing else imports: without its telemetry, and within limits of memory and time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import itl_infer.telemetry  # noqa: F401 (before onnxruntime is imported)

_MOST_MEMORY = 2**30  # bytes that all graphs of this process may take together
_LARGEST_COMPUTED_EARLY = 2**25  # bytes that onnxruntime may make of constants while it opens a graph
_LOOKED_AFTER = 0.2  # seconds: on Windows, an interrupt does not end a wait

T = TypeVar("T")


@cache
def onnxruntime() -> Any:
    """The module; a quarter of a second, which only embedding should cost."""
    import onnxruntime as module

    module.disable_telemetry_events()
    return module


def limited_options() -> Any:
    """SessionOptions under which a graph, whatever is in it, takes no more memory than it may."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the one that was checked
    options.add_session_config_entry(  # by versions that know it
        "optimization.constant_folding_max_output_size_in_bytes", str(_LARGEST_COMPUTED_EARLY)
    )
    if _share_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _share_memory() -> bool:
    """Make the one arena in which all sessions of this process compute; False where another program has its own."""
    module = onnxruntime()
    try:
        info = module.OrtMemoryInfo(
            "Cpu", module.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, module.OrtMemType.DEFAULT
        )
        module.create_and_register_allocator(info, module.OrtArenaCfg({"max_mem": _MOST_MEMORY}))
    except Exception:  # onnxruntime's errors have no common base of their own
        return False
    return True


def within(seconds: float, work: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
    """What `work` gives. Raises TimeoutError after so long, and lets an interrupt through at once.

    Where it must be left alone, `stop` is called, and it goes on in a thread of its own until it hears of that.
    """
    made: list[T] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    try:
        threading.Thread(target=run, name="itl-graph", daemon=True).start()
        left = seconds
        while not done.wait(min(left, _LOOKED_AFTER)):
            left -= _LOOKED_AFTER
            if left <= 0:
                raise TimeoutError(f"it took more than {seconds:.0f} s")
    except BaseException:
        if stop is not None:
            stop()
        raise
    if failed:
        raise failed[0]
    return made[0]
