"""What one hostile visitor costs the others: python -m tests.benchmarks.visitors [REQUEST ...]

Serves 1,000 small pictures with the bundle of the package. Four visitors ask short queries all the time, each when the
answer before has come; a fifth sends the most that a request may ask for, one after the other. Printed is the 95th
percentile of what the four wait, without the fifth and with it, in turns of some seconds; and their ratio.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import numpy as np
from PIL import Image

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.web.openapi import LIMITS
from tests.fake_bundle import write_pictures

PICTURES, VISITORS, SECONDS, TURNS = 1000, 4, 2.5, 3
_TEXTS = ("dog", "a red boat", "two people on the beach", "snow", "surfer in a wave")


def requests() -> dict[str, tuple[str, bytes | None]]:
    """By what each is called: its address, and its body."""
    words = [word for word in load_bundle().words if word.isalpha()]
    few, many = quote_plus(" ".join(words[:20])), quote_plus(" ".join(words[:300])[: LIMITS["text"]])
    unknown = quote_plus(" ".join(f"zq{number}x" for number in range(1000))[: LIMITS["text"]])
    picture = io.BytesIO()
    Image.effect_noise((6000, 6000), 90).convert("RGB").save(picture, "JPEG", quality=60)
    several = {"queries": [" ".join(words[place : place + 9]) for place in range(1000)]}
    return {
        "explain": (f"/api/query?q={few}&k=1000&explain=true", None),
        "explain many words": (f"/api/query?q={many}&k=80&explain=true", None),
        "results": (f"/api/query?q={few}&k=1000", None),
        "dedupe": (f"/api/query?q={few}&k=1000&dedupe=true", None),
        "unknown words": (f"/api/query?q={unknown}&add={unknown}&add={unknown}", None),
        "batch": ("/api/batch", json.dumps({**several, "k": 100}).encode()),
        "batch, explain": ("/api/batch", json.dumps({**several, "k": 2, "explain": True}).encode()),
        "picture": ("/api/similar?k=1000", picture.getvalue()),
    }


def ask(url: str, body: bytes | None = None) -> int:
    """The status of an answer that has come whole."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=120) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def waits(url: str) -> list[float]:
    """Seconds that visitors waited for each of their answers, in one turn."""
    found: list[float] = []
    end = time.perf_counter() + SECONDS

    def visit(number: int) -> None:
        while (start := time.perf_counter()) < end:
            number += 1
            assert ask(f"{url}/api/query?q={quote_plus(_TEXTS[number % len(_TEXTS)])}&k=12") == 200
            found.append(time.perf_counter() - start)

    in_threads(*(lambda number=number: visit(number) for number in range(VISITORS)))
    return found


def waits_beside(url: str, address: str, body: bytes | None) -> tuple[list[float], list[int]]:
    """The same while one visitor asks what is hostile, over and over; and what that one was answered."""
    ended, statuses = threading.Event(), list[int]()

    def attack() -> None:
        while not ended.is_set():
            statuses.append(ask(f"{url}{address}", body))

    attacker = threading.Thread(target=attack)
    attacker.start()
    time.sleep(0.2)
    found = waits(url)
    ended.set()
    attacker.join()
    return found, statuses


def in_threads(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures, index = Path(folder) / "pictures", Path(folder) / "photos.itl"
        write_pictures(pictures, PICTURES)
        embed_directory(pictures, Index.open(index, load_bundle()))
        command = [sys.executable, "-m", "itl_infer", "serve", "-d", str(index), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
            assert serving.stderr
            [url] = re.findall(r"http://\S+", serving.stderr.readline())
            waits(url)
            print("| request | ms alone | ms beside it | ratio | answers |\n|---|---:|---:|---:|---|")
            for name, (address, body) in requests().items():
                if names and name not in names:
                    continue
                alone, beside, statuses = [], [], []
                for _ in range(TURNS):
                    alone += waits(url)
                    found, said = waits_beside(url, address, body)
                    beside += found
                    statuses += said
                before, after = (1000 * float(np.percentile(times, 95)) for times in (alone, beside))
                counts = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))
                print(
                    f"| {name} | {before:.1f} | {after:.1f} | {after / before:.1f} | {counts} |", flush=True
                )
            serving.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
