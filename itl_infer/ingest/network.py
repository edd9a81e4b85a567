"""Whether a folder is on a drive of another machine, whose changes the system is not told of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from itl_infer.index.roots import real_path

_KINDS = {
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "ncpfs", "afs", "9p"),
    *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "ocfs2", "vboxsf", "vmhgfs", "prl_fs", "drvfs"),
}
_MAC_MOUNT = re.compile(r"^.* on (?P<place>.*) \((?P<kind>\w+)[,)]", re.MULTILINE)


def is_on_network(folder: Path) -> bool:
    """Whether it is, as far as the system says."""
    if sys.platform == "win32":
        return _is_on_network_windows(folder)
    return kind_of_mount(str(real_path(folder)), _mounts()) in _KINDS


def kind_of_mount(folder: str, mounts: list[tuple[str, str]]) -> str:
    """The kind of file system of the innermost of some mounts, (place, kind), that a folder is in; "nfs" of any in FUSE
    that is not a disk's, as nobody is told of what others change there."""
    inside = [
        (len(place), kind)
        for place, kind in mounts
        if folder == place or folder.startswith(os.path.join(place, ""))  # noqa: PTH118
    ]
    kind = max(inside, default=(0, ""), key=lambda found: found[0])[1]
    return "nfs" if kind.startswith(("fuse.", "macfuse", "osxfuse")) else kind


def _mounts() -> list[tuple[str, str]]:
    """Where file systems are, and of what kind; none where that cannot be found out."""
    try:
        if sys.platform == "darwin":
            told = subprocess.run(
                ["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False
            ).stdout
            return [(found["place"], found["kind"]) for found in _MAC_MOUNT.finditer(told)]
        lines = Path("/proc/self/mounts").read_bytes().splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        (_unescaped(place), os.fsdecode(kind)) for _, place, kind, *_ in (line.split(b" ") for line in lines)
    ]


def _unescaped(place: bytes) -> str:
    """Spaces are written in octal there."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 255]), place))


def _is_on_network_windows(folder: Path) -> bool:
    import ctypes

    drive = folder.resolve().drive
    if drive.startswith("\\\\"):
        return True
    remote = 4
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009, it is there on Windows alone
    return bool(kernel.GetDriveTypeW(f"{drive}\\") == remote)
