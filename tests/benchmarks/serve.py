"""The page under load while an index grows: python -m tests.benchmarks.serve

Serves 10,000 pictures, sends 200 queries a second for half a minute over 16 connections, and runs embed-images
on further folders all the while. The pictures and the bundle are those of the tests: what is measured is the
server, the index and the ranking. Prints what came of it; exit code 1 if a query failed or too few were sent.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from itl_infer import Index, embed_directory, load_bundle
from tests.fake_bundle import write_pictures
from tests.tiny_bundle import make_tiny_bundle

PICTURES, MORE, RATE, SECONDS, CONNECTIONS = 10_000, 500, 200, 30, 16
TEXTS = (
    "red",
    "a+blue+wave",
    "bright+green",
    "surfer+in+a+wave",
    "red+surfr&explain=true",
    "blue&relevant=true",
)


async def query(url: str, start: float, first: int, taken: list[float], faults: list[str]) -> None:
    """Every CONNECTIONS-th query, from `first` on, each at its time, over one connection."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    for number in range(first, RATE * SECONDS, CONNECTIONS):
        due = start + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        target = f"/api/query?q={TEXTS[number % len(TEXTS)]}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length))
        taken.append(time.perf_counter() - due)
        if b" 200 " not in head.partition(b"\r\n")[0] or not json.loads(body)["results"]:
            faults.append(f"{target}: {head[:40]!r} {body[:100]!r}")
    writer.close()


async def load(url: str) -> tuple[list[float], list[str]]:
    taken: list[float] = []
    faults: list[str] = []
    start = time.perf_counter() + 0.5
    await asyncio.gather(*(query(url, start, first, taken, faults) for first in range(CONNECTIONS)))
    return taken, faults


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, index = make_tiny_bundle(folder / "bundle"), folder / "photos.itl"
        write_pictures(folder / "pictures", PICTURES)
        embed_directory(folder / "pictures", Index.open(index, load_bundle(bundle)))
        itl_infer = [sys.executable, "-m", "itl_infer"]
        options = ["-d", str(index), "-m", str(bundle)]
        with subprocess.Popen(
            [*itl_infer, "serve", "--port", "0", *options], stderr=subprocess.PIPE, text=True
        ) as serving:
            assert serving.stderr
            [url] = re.findall(r"http://\S+", serving.stderr.readline())
            write_pictures(folder / "more", MORE * 20, seed=PICTURES)
            for number, path in enumerate(sorted((folder / "more").iterdir())):
                part = folder / f"more{number // MORE}"
                part.mkdir(exist_ok=True)
                path.rename(part / path.name)
            growing = " && ".join(
                " ".join([*itl_infer, "embed-images", str(folder / f"more{i}"), *options]) for i in range(20)
            )
            with subprocess.Popen(growing, shell=True, stdout=subprocess.PIPE, text=True) as embedding:
                taken, faults = asyncio.run(load(url))
                embedding.terminate()
                assert embedding.stdout
                runs = embedding.stdout.read().count("embedded")
            serving.terminate()
        rows = len(Index.open(index, load_bundle(bundle), mode="r"))
    milliseconds = 1000 * np.percentile(taken, [50, 95, 99, 100])
    print(f"{len(taken)} of {RATE * SECONDS} queries in {SECONDS} s, {len(faults)} failed")
    print(
        "milliseconds after they were due: median {:.1f}, 95 % {:.1f}, 99 % {:.1f}, worst {:.1f}".format(
            *milliseconds
        )
    )
    print(f"meanwhile {runs} runs of embed-images; {PICTURES} pictures became {rows}")
    for fault in faults[:5]:
        print(fault)
    sys.exit(bool(faults) or len(taken) < RATE * SECONDS)


if __name__ == "__main__":
    main()
