"""On nodes that lack what reads a format, pictures are left out and told, and embedded by the run that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("ray", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("pyarrow", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("ray.data", reason="working on a cluster needs the extra: pip install -e .[ray]")
pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra: pip install -e .[heif]")
import itl_infer
from itl_infer import distributed
from itl_infer.ingest import LeftOut
from tests.runtime.distributed.helpers import assert_whole, files_in, rows_in

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]


def test_what_nodes_cannot_read_is_left_out_until_they_can(
    cluster: str,
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    node_is: Callable[..., None],
    nodes: Path,
) -> None:
    pillow_heif.register_heif_opener()
    for name in ("IMG_1.HEIC", "sub folder/IMG_2.heic"):
        Image.new("RGB", (64, 64), "orange").save(pictures / name, "HEIF")
    noise = Image.effect_noise((320, 240), 60).convert("RGB")
    noise.save(pictures / "cut.jpg")
    (pictures / "cut.jpg").write_bytes((pictures / "cut.jpg").read_bytes()[:-60])

    def embed(**options: bool) -> distributed.Report:
        return distributed.embed(
            pictures, tmp_path / "out", bundle=bundle, address=cluster, shard_rows=4, **options
        )

    node_is("plain")
    first = embed()
    assert (first.embedded, first.failed, first.incomplete) == (14, 2, 1)
    assert first.left_out == {".heic": LeftOut(2, "heif")}
    assert first.notes[0].path == str(pictures / "cut.jpg")
    assert first.to_json()["left_out"] == {".heic": {"files": 2, "extra": "heif"}}
    errors = [row["error"] for row in rows_in(tmp_path / "out") if row["path"].lower().endswith(".heic")]
    assert errors == ["reading HEIC needs pillow-heif: pip install 'itl-infer[heif]'"] * 2
    shards = sorted((tmp_path / "out").glob("part-*.parquet"))
    written = [shard.stat().st_mtime_ns for shard in shards]
    again = embed()
    assert (again.embedded, again.kept, again.failed, again.left_out) == (0, 16, 0, first.left_out)
    assert [shard.stat().st_mtime_ns for shard in shards] == written  # nothing new to be written
    (nodes / "plain").write_text("")
    (nodes / "plain").rename(nodes / "plain no more")
    try:
        last = embed()
    finally:
        (nodes / "plain no more").rename(nodes / "plain")
    assert (last.embedded, last.kept, last.failed, last.left_out) == (2, 16, 0, {})
    assert_whole(tmp_path / "out", bundle, files_in(pictures))
    assert not list((tmp_path / "out").glob("_left-out*"))
    assert embed().kept == 18
