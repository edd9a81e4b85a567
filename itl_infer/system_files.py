"""What systems and programs put among pictures: what was deleted, thumbnails, previews, notes of their own."""

from __future__ import annotations

_FOLDERS = (
    *("@eaDir", "#recycle", "#snapshot", "@tmp"),  # Synology
    *("@Recycle", "@Recently-Snapshot", ".@__thumb", "@__thumb", ".@upload_cache"),  # QNAP
    *("$RECYCLE.BIN", "RECYCLER", "System Volume Information"),  # Windows
    *(
        "lost+found",
        ".thumbnails",
        ".thumbs",
        ".recycle",
        ".snapshot",
        ".snapshots",
        ".zfs",
    ),  # Linux, file servers
    *(".Spotlight-V100", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100"),  # macOS
    *("Network Trash Folder", "Temporary Items"),
)
NO_PICTURES = ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store")  # whatever else they are
_WHOLE = {name.lower(): name for name in (*_FOLDERS, *NO_PICTURES)}
_STARTS = {
    "._": "._*",
    ".trash": ".Trash*",
}  # macOS, on disks of other systems: a file beside each; what was deleted
_ENDS = {".lrdata": "*.lrdata"}  # previews of Lightroom


def system_file(name: str) -> str | None:
    """What a file or folder is counted as, "@eaDir" or "._*", where a system or program made it; else None."""
    lower = name.lower()
    if found := _WHOLE.get(lower):
        return found
    if lower.startswith("."):
        return next((kind for start, kind in _STARTS.items() if lower.startswith(start)), None)
    return next((kind for end, kind in _ENDS.items() if lower.endswith(end)), None)
