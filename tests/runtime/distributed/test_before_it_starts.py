"""What is refused before a cluster has anything to do, and what is not imported without one."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("pyarrow", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("ray.data", reason="working on a cluster needs the extra: pip install -e .[ray]")
import itl_infer
from itl_infer import distributed
from tests.places import ROOT
from tests.runtime.distributed.helpers import command, error_of, itl, rows_in
from tests.tiny_bundle import make_tiny_bundle

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]


@pytest.fixture
def other_server() -> Iterator[int]:
    """The port of a server that is not Ray's."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("what", ["embed-images", "batch"])
def test_an_address_that_does_not_answer(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, other_server: int, what: str
) -> None:
    out = tmp_path / "out"
    run = (
        ["embed-images", pictures, "--out", out]
        if what == "embed-images"
        else ["batch", "-", "--shards", out]
    )
    for address, message in (
        (
            "127.0.0.1:1",
            "Ray at 127.0.0.1:1: no answer (Connection refused): is it running, and is this its address?",
        ),
        (
            f"127.0.0.1:{other_server}",
            f"Ray at 127.0.0.1:{other_server}: something else answers there: give the port",
        ),
        (
            "ray://127.0.0.1:10001",
            "ray://127.0.0.1:10001: Ray Data does not work through Ray Client: give HOST:PORT",
        ),
    ):
        assert error_of(command(*run, "--ray", address, "-m", bundle.path, input="red\n")).startswith(message)
    assert not out.exists()


@pytest.mark.parametrize("module", ["ray", "pyarrow"])
def test_without_the_extra_its_installation_is_named(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, module: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import itl_infer.cli; itl_infer.cli.run()"
    for run in (
        ["embed-images", pictures, "--out", tmp_path / "out", "--ray"],
        ["batch", "-", "--shards", tmp_path],
    ):
        args = [sys.executable, "-c", code, *map(str, run), "-m", str(bundle.path)]
        found = subprocess.run(args, cwd=ROOT, input="red\n", capture_output=True, text=True, check=False)
        assert error_of(found) == "working on a cluster needs Ray: pip install 'itl-infer[ray]'"
    assert not (tmp_path / "out").exists()


def test_an_out_that_holds_something_else(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    def run(source: Path, out: Path, *options: Any, bundle: Any = bundle.path) -> str:
        return error_of(itl("embed-images", "--ray", cluster, source, "--out", out, "-m", bundle, *options))

    other = "give a folder that is empty, or not there yet"
    assert run(pictures, pictures) == f"{pictures}: holds something else (000.png): {other}"
    file = pictures / "000.png"
    assert run(pictures, file).startswith(f"{file}: cannot be used: ")
    assert run(pictures, file / "out").startswith(f"{file / 'out'}: cannot be ")

    out, names = tmp_path / "out", tmp_path / "names.txt"
    names.write_text(f"{pictures / '000.png'}\n{pictures / '001.png'}\n")
    distributed.embed(names, out, bundle=bundle, address=cluster)
    before = rows_in(out)
    again = "give the same again to go on, or another --out"
    assert (
        run(pictures, out) == f"{out}: was begun with source {short(names)}, not {short(pictures)}: {again}"
    )
    another = make_tiny_bundle(
        tmp_path / "another",
        text={"tokenizer": "nltk-word", "stop_words": [], "stemmer": "snowball-english", "forms": None},
    )
    fingerprint = itl_infer.load_bundle(another).fingerprint
    assert f"was begun with bundle {short(bundle.fingerprint)}, not {short(fingerprint)}" in run(
        names, out, bundle=another
    )
    assert f"was begun with exclude [], not ['*.jpg']: {again}" in run(names, out, "--exclude", "*.jpg")
    names.write_text(f"{pictures / '000.png'}\n{pictures / '002.png'}\n")
    assert run(names, out) == f"{out}: was begun with other pictures in {names}: {again}"
    assert rows_in(out) == before
    (out / "_plan").write_bytes(b"damaged")
    assert run(names, out).startswith(f"{out / '_plan'}: cannot be read: ")


def short(value: Any) -> str:
    """As long names are shown."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-45:]}"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("embed-images a --out b", "--out goes with --ray"),
        ("embed-images a --ray", "Name the folder of the shards: --out shards."),
        (
            "embed-images a b --ray --out c",
            "--ray takes one source (a folder, a .txt file or Parquet), not 2; an address",
        ),
        ("embed-images --ray head --out c a", "not 2; an address is HOST:PORT or auto."),
        ("embed-images --ray --out c", "--ray takes one source"),
        ("embed-images --ray a --out c -d d", "--index goes with an index, not with --ray."),
        ("embed-images --ray a --out c --prune", "--prune goes with an index, not with --ray."),
        ("batch a --ray", "--ray searches shards: name their folder, --shards shards."),
        ("batch a --shards b --relevant", "--relevant needs an index on this machine (-d), not --shards."),
        ("batch a --shards b --sheet c.html", "--sheet needs an index on this machine (-d), not --shards."),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("red\n")
    assert message in error_of(itl(*args.split()), exit_code=2)


@pytest.mark.parametrize("settings", [{"cpus": 0}, {"shard_rows": 0}])
def test_settings_that_mean_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected above 0, and 1 or more"):
        distributed.embed(tmp_path, tmp_path / "out", **settings)


def test_without_ray_nothing_of_it_is_imported(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "ITL_BUNDLE": str(bundle.path)}
    index = tmp_path / "photos.itl"
    for run in (
        ["embed-images", pictures, "-d", index],
        ["batch", "-", "-d", index],
        ["embed-images", "--help"],
    ):
        done = command(*run, input="red\n", env=environment)
        assert done.returncode == 0
        imported = [
            line.rpartition("|")[2].strip()
            for line in done.stderr.splitlines()
            if line.startswith("import time")
        ]
        assert "itl_infer.cli.group" in imported
        kept_out = ("ray", "pyarrow", "itl_infer.distributed", "itl_infer.cli.cluster")
        assert not [name for name in imported if name.startswith(kept_out)]
