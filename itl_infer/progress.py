"""How far a run over pictures is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is, in pictures."""

    done: int
    total: int
    seconds: float
    done_before: int = 0  # of those done, by a run before this one

    @property
    def rate(self) -> float:
        """Pictures a second, in this run."""
        return (self.done - self.done_before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at this rate; None before the first picture."""
        return (self.total - self.done) / self.rate if self.rate else None
