"""What every measurement of a bundle says: of which bundle, which figures, and what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from itl_infer.captions import Skipped, describe_faults
from itl_infer.evaluation.metrics import Figures


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of one bundle; shares between 0 and 1, with "chance" and "confidence_95" holding the same keys."""

    bundle_name: str
    bundle_fingerprint: str
    figures: Figures
    faults: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    @property
    def bundle(self) -> str:
        """The bundle for people, told from others of its name."""
        return f"bundle {self.bundle_name} ({self.bundle_fingerprint[:12]})"

    def describe_faults(self) -> list[str]:
        """What was left out or is not as it should be, as lines for people; each fault with its first places."""
        return [*(f"  note: {note}" for note in self.notes), *describe_faults(self.faults)]

    def json_head(self) -> dict[str, Any]:
        """The bundle, and how often each fault was met, as plain values."""
        return {
            "bundle": {"name": self.bundle_name, "fingerprint": self.bundle_fingerprint},
            "faults": dict(Counter(fault.reason for fault in self.faults)),
        }
