"""rclip, the peer to beat: a CLIP (ViT-B/32, 256 px) on onnxruntime, over the same folder and the same query.

Measured where a command `rclip` is found (it wants versions of its own: `pipx install rclip`). What runs is rclip
itself, with random weights in networks of CLIP's layers and sizes: these take as long, and need no download.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import Run, run

PHOTOS = 256
SIDE = 256
_ROUNDS = 3
_QUERIES = 5
_QUERY = "surfer in a wave"
_WORDS, _CONTEXT, _EMBED_DIM = 49_408, 77, 512  # of CLIP


def tables(ground: Ground) -> Iterator[Table]:
    table = Table(
        f"Beside rclip, {PHOTOS} photographs, {SIDE} px",
        ("what", "itl-infer", "rclip", "rclip / itl-infer"),
    )
    if not (rclip := shutil.which("rclip")):
        print("rclip is not installed: pipx install rclip\n")
        return
    models = ground.folder / "rclip"
    _write_models(models)
    photos, bundle = ground.many(PHOTOS, ground.photos, "photos"), ground.bundle(SIDE)

    def ask_rclip(*options: str) -> Run:
        return run(*options, _QUERY, program=rclip, cwd=photos, env={"RCLIP_DATADIR": str(models)})

    def itl(*options: str) -> Run:
        return run("-m", "itl_infer", *options, "-m", str(bundle))

    ours, theirs = [], []
    for turn in range(_ROUNDS):  # each makes an index anew
        index = str(ground.folder / f"{turn}.itl")
        ours.append(itl("embed-images", str(photos), "-d", index, "--format", "json"))
        assert json.loads(ours[-1].output)["embedded"] == PHOTOS
        (models / "db.sqlite3").unlink(missing_ok=True)
        theirs.append(ask_rclip())
        with sqlite3.connect(models / "db.sqlite3") as database:  # it goes on without what failed
            assert database.execute("SELECT count(*) FROM images").fetchone() == (PHOTOS,)
    _compare(table, "embedding, s", [r.seconds for r in ours], [r.seconds for r in theirs], wanted=4)
    _compare(table, "embedding, peak MB", [r.peak_mb for r in ours], [r.peak_mb for r in theirs])
    ours, theirs = [], []
    for _ in range(_QUERIES):
        ours.append(itl("query", _QUERY, "-d", index))
        theirs.append(ask_rclip("--no-indexing"))
    _compare(table, "a query, s", [r.seconds for r in ours], [r.seconds for r in theirs], wanted=2.5)
    _compare(table, "a query, peak MB", [r.peak_mb for r in ours], [r.peak_mb for r in theirs], wanted=3)
    yield table


def _compare(
    table: Table, what: str, ours: list[float], theirs: list[float], *, wanted: float | None = None
) -> None:
    """A row of figures taken in turns, of which less is better, and how many times less is `wanted`."""
    ratios = spread([b / a for a, b in zip(ours, theirs, strict=True)], 1)
    table.add(what, spread(ours), spread(theirs), ratios)
    if wanted is not None:
        table.at_least(f"rclip / itl-infer, {what}", wanted, ratios)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, *, causal: bool) -> Tensor:
        qkv = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class _Tower(nn.Module):
    """Twelve blocks over tokens, and a product of the token that stands for all."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(tokens, width) / 10)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(12))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, _EMBED_DIM, bias=False)

    def run_blocks(self, x: Tensor, *, causal: bool) -> Tensor:
        x = x + self.positions
        for block in self.blocks:
            x = block(x, causal=causal)
        return self.norm(x)


class _Pictures(_Tower):
    def __init__(self) -> None:
        super().__init__(width=768, heads=12, tokens=1 + (SIDE // 32) ** 2)
        self.patches = nn.Conv2d(3, 768, 32, stride=32, bias=False)
        self.first = nn.Parameter(torch.randn(1, 1, 768) / 10)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(pixels.shape[0], -1, -1), patches], dim=1)
        return self.out(self.run_blocks(x, causal=False)[:, 0])  # type: ignore[no-any-return]


class _Texts(_Tower):
    def __init__(self) -> None:
        super().__init__(width=512, heads=8, tokens=_CONTEXT)
        self.words = nn.Embedding(_WORDS, 512)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.run_blocks(self.words(tokens), causal=True)
        ends = tokens.argmax(dim=1)[:, None, None].expand(-1, 1, x.shape[-1])
        return self.out(x.gather(1, ends)[:, 0])  # type: ignore[no-any-return]


def _write_models(folder: Path) -> None:
    """Where rclip looks for what it would otherwise download."""
    torch.manual_seed(0)
    networks = folder / "ViT-B-32-256-datacomp_s34b_b86k"
    networks.mkdir(parents=True)
    for name, network, inputs in (
        ("visual", _Pictures(), torch.randn(2, 3, SIDE, SIDE)),
        ("textual", _Texts(), torch.randint(_WORDS, (2, _CONTEXT))),
    ):
        program = torch.onnx.export(
            network.eval(),
            (inputs,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(networks / f"{name}.onnx"), external_data=False)
    merges = ["#"] + [
        f"{first} {second}</w>" for first in map(chr, range(192, 414)) for second in map(chr, range(192, 414))
    ]
    (folder / "tokenizer").mkdir()
    with gzip.open(folder / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(merges))
