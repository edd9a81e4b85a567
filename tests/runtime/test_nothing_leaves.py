"""Nothing leaves the machine: no name is looked up, nobody is called, and no file is made but what was named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_bundle import make_tiny_bundle, save_colours

# Everything in one process, so that there is one trace: a query, a folder, and a page that is asked once.
_PROGRAM = """
import os, re, signal, sys, threading, urllib.request
from itl_infer.cli import serve
from itl_infer.cli.group import main
bundle, pictures, index = sys.argv[1:]
def run(*words):
    try:
        main([*words, "-m", bundle], prog_name="itl-infer")
    except SystemExit as end:
        assert not end.code, end.code
run("embed-images", pictures, "-d", index)
run("query", "red", "-d", index)
def ask(line):
    print(line, file=sys.stderr)
    def asked():
        url = re.search(r"http://[0-9.:]+", line)[0]
        print(len(urllib.request.urlopen(f"{url}/api/query?q=red").read()))
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=asked).start()
serve.note = ask
run("serve", "-d", index, "--port", "0")
"""
# Where there is no strace: what Python itself looks up, connects to and opens, a line each. A library that does so by
# itself is not seen, but for the files that it leaves in the home of who ran it.
_NOTED = """
import sys
calls = open(sys.argv.pop(), "w", buffering=1)
def note(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        print("look-up", repr(arguments[0]), file=calls)
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        print("connect", repr(arguments[1]), file=calls)
    elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & 0o100:
        print("O_CREAT", f'"{arguments[0]}"', file=calls)
    elif event == "os.mkdir":
        print("mkdir", f'"{arguments[0]}"', file=calls)
sys.addaudithook(note)
"""
_AWAY = re.compile(r"\b(connect|sendto|sendmsg)\(.*AF_INET(?!.*(127\.0\.0\.1|::1))")
_AWAY_NOTED = re.compile(r"(look-up|connect) (?!.*(127\.0\.0\.1|::1|localhost|None))")


@pytest.fixture(scope="module", params=["strace", "hooks of Python"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where it was run, and the calls that were made: connections, look-ups, and files opened to be written."""
    folder = tmp_path_factory.mktemp("traced")
    is_strace = request.param == "strace"
    if is_strace and shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    pytest.importorskip("uvicorn")
    bundle = make_tiny_bundle(folder / "bundle")
    save_colours(folder / "pictures", ["red", "blue"])
    (folder / "home").mkdir()
    environment = {
        **os.environ,
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    watched = "trace=connect,sendto,sendmsg,openat,open,creat,mkdir,mkdirat"
    strace = ["strace", "-f", "-q", "-o", str(folder / "calls"), "-e", watched, "-e", "signal=none"]
    names = [str(bundle), str(folder / "pictures"), str(folder / "photos.itl")]
    if is_strace:
        command = [*strace, sys.executable, "-c", _PROGRAM, *names]
    else:
        command = [sys.executable, "-c", _NOTED + _PROGRAM, *names, str(folder / "calls")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if is_strace and "ptrace" in done.stderr and done.returncode:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert "rank" in done.stdout
    return folder, (folder / "calls").read_text(errors="replace").splitlines()


def test_nobody_is_called(trace: tuple[Path, list[str]]) -> None:
    calls = trace[1]
    assert any("127.0.0.1" in call for call in calls)  # the page, by the test itself
    assert [call for call in calls if _AWAY.search(call) or _AWAY_NOTED.match(call)] == []


def test_no_file_is_made_but_what_was_named(trace: tuple[Path, list[str]]) -> None:
    folder, calls = trace
    made = [call for call in calls if re.search(r"O_CREAT|\bcreat\(|\bmkdir", call) and "= -1" not in call]
    assert made  # the index
    named = (f'"{folder}/photos.itl', '"/dev/', '"/proc/', '"/tmp/', f'"{os.environ.get("TMPDIR", "/tmp")}/')
    assert [call for call in made if not any(name in call for name in named)] == []
    assert list((folder / "home").iterdir()) == []


def test_telemetry_is_off_before_onnxruntime_is_there() -> None:
    """Whoever imports it: the package, its training side, and the benchmarks."""
    for module in ("itl_infer.encoder", "export", "tests.benchmarks"):
        program = (
            f"import sys, os, {module}; assert 'onnxruntime' not in sys.modules;"
            " print(os.environ['ORT_DISABLE_TELEMETRY'])"
        )
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout == "1\n", done.stderr
