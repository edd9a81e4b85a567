"""The training loop that every trainer here runs: steps, epochs, checkpoints, and resuming to the same result.

A trainer says what one step and the end of an epoch do; both must draw their randomness from the epoch and batch
number alone. Then a run that was interrupted anywhere ends with the weights of a run in one piece.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.errors import ExportError
from itl_infer.files import replacing

CHECKPOINT_SECONDS = 180
_RATE_SECONDS = 5

History = list[dict[str, float]]
"""One row of figures per epoch."""


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def batch_rows(seed: int, epoch: int, batch: int, batch_size: int, count: int) -> np.ndarray[Any, Any]:
    """The rows of one batch, in rising order (memory maps like that): every row comes once an epoch."""
    return np.sort(_shuffled(seed, epoch, count)[batch * batch_size : (batch + 1) * batch_size])


def sample_sha256(rows: np.ndarray[Any, Any]) -> str:
    """A hash of up to 1000 rows, evenly spread: enough to tell features of one trunk or pictures from others."""
    sample = rows[:: max(1, len(rows) // 1000)]
    return hashlib.sha256(repr(rows.shape).encode() + np.ascontiguousarray(sample).tobytes()).hexdigest()


@dataclass(frozen=True)
class LoopProgress:
    """Where a run stands; shown while it goes on."""

    epoch: int  # from 1
    epochs: int
    step: int  # over all epochs
    steps: int
    loss: float  # mean of this epoch so far
    steps_per_second: float
    history: History


@dataclass
class Loop:
    """One run. `kept` is what else must survive an interruption (tensors, numbers, lists of them); it is read
    when a checkpoint is written and filled when one is gone on from, so `vars` of a trainer's fields will do.

    `plan` says of every epoch, in plain values, what is special about it. A run goes on from a checkpoint whose epochs
    so far were planned alike, whatever was to follow; `keep_after` that many epochs a copy of the checkpoint is kept,
    for a run that does otherwise from there.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    steps_per_epoch: int
    checkpoint: Path
    settings: dict[str, Any]  # plain values that decide how the run goes
    kept: dict[str, Any] = field(default_factory=dict)
    plan: list[list[int]] = field(default_factory=list)
    keep_after: int = 0
    seconds: float = 0.0  # spent so far, over all interruptions

    def run(
        self,
        train_step: Callable[[int, int], float],
        epoch_end: Callable[[int, float, History], bool],
        progress: Callable[[LoopProgress], None],
    ) -> History:
        """Go to the last epoch, or on from the checkpoint; returns one row of figures per epoch.

        `train_step(epoch, batch)` returns the loss; `epoch_end(epoch, mean_loss, history)` adds the epoch's row
        to the history, and returns whether the run ends here.
        """
        step, loss_sum = 0, 0.0
        history: History = []
        steps, finished = self.epochs * self.steps_per_epoch, False
        if saved := self._saved():
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            step, loss_sum, history = saved["step"], saved["loss_sum"], saved["history"]
            finished = saved.get("finished", False)
            self.seconds = saved.get("seconds", 0.0)
            self.kept.update(saved.get("kept", {}))

        def save() -> None:
            position = {"step": step, "loss_sum": loss_sum, "history": history, "finished": finished}
            self._save(position | {"seconds": self.seconds})

        saved_at = rate_at = now = time.monotonic()
        rate_step, rate = step, 0.0
        while step < steps and not finished:
            epoch, batch = divmod(step, self.steps_per_epoch)
            loss_sum += train_step(epoch, batch)
            step += 1
            before, now = now, time.monotonic()
            self.seconds += now - before
            if now - rate_at > _RATE_SECONDS:
                rate, rate_at, rate_step = (step - rate_step) / (now - rate_at), now, step
            progress(LoopProgress(epoch + 1, self.epochs, step, steps, loss_sum / (batch + 1), rate, history))
            if batch + 1 == self.steps_per_epoch:
                finished = epoch_end(epoch, loss_sum / self.steps_per_epoch, history)
                loss_sum = 0.0
            if batch + 1 == self.steps_per_epoch or now - saved_at > CHECKPOINT_SECONDS:
                save()
                saved_at = time.monotonic()
        return history

    def _saved(self) -> dict[str, Any] | None:
        """The state to go on from: of the checkpoint, or where its plan differs, of the last copy that agrees."""
        if not self.checkpoint.exists():
            return None
        saved = _read_checkpoint(self.checkpoint)
        changed = self._changes(saved)
        if changed == ["plan"]:
            copies = self.checkpoint.parent.glob(f"{self.checkpoint.stem}-*{self.checkpoint.suffix}")
            if agree := [copy for copy in map(_read_checkpoint, copies) if not self._changes(copy)]:
                saved, changed = max(agree, key=lambda copy: copy["state"]["step"]), []
        if changed:
            raise ExportError(
                f"{self.checkpoint} is of a run with other settings ({', '.join(changed)}):"
                " delete it or choose another folder"
            )
        return saved["state"]  # type: ignore[no-any-return]

    def _changes(self, saved: dict[str, Any]) -> list[str]:
        found = saved["run"]
        changed = {key for key in {*found, *self.settings} if found.get(key) != self.settings.get(key)}
        begun = math.ceil(saved["state"]["step"] / self.steps_per_epoch)
        if saved.get("plan", [])[:begun] != self.plan[:begun]:
            changed.add("plan")
        return sorted(changed)

    def _save(self, position: dict[str, Any]) -> None:
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "kept": self.kept,
        }
        paths = [self.checkpoint]
        if position["step"] == self.keep_after * self.steps_per_epoch:
            paths.insert(0, self.checkpoint.with_stem(f"{self.checkpoint.stem}-{self.keep_after}"))
        for path in paths:
            with replacing(path) as file:
                torch.save({"run": self.settings, "plan": self.plan, "state": state | position}, file)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved["run"], saved["state"]["step"]  # what else would be read as a checkpoint
    except Exception as error:  # torch raises half a dozen types for a file it cannot read
        raise ExportError(
            f"{path} cannot be read ({type(error).__name__}): delete it to start over"
        ) from error
    return saved  # type: ignore[no-any-return]
