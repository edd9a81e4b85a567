"""Trains a student on what a teacher says of parts of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.distil.crops import Crops
from export.distil.recipe import DistilRecipe
from export.distil.student import Student
from export.layers import ScalePixels, adamw, autocast, default_device
from export.loop import History, Loop, LoopProgress, batch_rows, sample_sha256
from export.trunk.trunk import Trunk

Array = np.ndarray[Any, Any]

_MEASURED_AT_ONCE = 64  # pictures


class DistilData:
    """Parts of pictures, view by view, with the teacher's features of each; and what frozen layers make of them."""

    def __init__(
        self,
        views: Sequence[Crops],
        answers: Sequence[Array],
        maps: Sequence[Array],
        val: Crops,
        val_answers: Array,
    ) -> None:
        self.views, self.answers, self.maps, self.val, self.val_answers = (
            views,
            answers,
            maps,
            val,
            val_answers,
        )

    def __len__(self) -> int:
        return len(self.views[0])


class DistilTrainer:
    """One run: `step` trains on a batch, `measure` compares with the teacher on the val pictures.

    The loss is that of Hinton et al. 2015 (arXiv:1503.02531), the divergence of the two softmaxes at one temperature,
    times its square; and beside it the squared error of the teacher's features, each over its variance, by a linear
    map of the student's (Romero et al. 2014, arXiv:1412.6550). All chance is drawn from (seed, epoch, batch), so that
    a run that was interrupted ends as one in one piece.
    """

    def __init__(
        self,
        student: Trunk,
        teacher: Trunk,
        data: DistilData,
        last: nn.Module | None,
        recipe: DistilRecipe,
        checkpoint: Path,
    ) -> None:
        """`last` are the layers behind those that stay as they are at first."""
        self.device, self.data, self.last = default_device(), data, last
        self.recipe = recipe = replace(recipe, batch_size=min(recipe.batch_size, len(data)))
        start = student.weights_sha256
        torch.manual_seed(recipe.seed)
        self.model = Student(student.network, student.feature_dim, teacher)
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert teacher.classifier is not None
        self._classifier = teacher.classifier.to(self.device)
        some = torch.from_numpy(np.asarray(data.answers[0][:: max(1, len(data) // 4096)], np.float32))
        self._mean, self._std = (t.to(self.device) for t in (some.mean(dim=0), some.std(dim=0) + 1e-3))
        self._scale, self._side = ScalePixels(student.mean, student.std).to(self.device), student.side
        self.optimizer = adamw(self.model, recipe.learning_rate, recipe.weight_decay)
        self.loop = Loop(
            self.model,
            self.optimizer,
            recipe.epochs,
            steps_per_epoch=len(data) // recipe.batch_size,
            checkpoint=checkpoint,
            settings={
                **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(recipe).items()},
                "student": student.name,
                "side": student.side,
                "student's start": start,
                "teacher": teacher.name,
                "teacher's answers": sample_sha256(data.answers[0]),
                "pictures": len(data),
            },
        )

    def step(self, epoch: int, batch: int) -> float:
        recipe = self.recipe
        view = epoch % len(self.data.views)
        rows = batch_rows(recipe.seed, epoch, batch, recipe.batch_size, len(self.data))
        is_frozen = epoch < recipe.frozen_epochs
        answers = self._on_device(self.data.answers[view][rows])
        self.model.train()
        with autocast(self.device):
            if is_frozen:
                logits, features = self.model(self._on_device(self.data.maps[view][rows]), self.last)
            else:
                logits, features = self.model(self._pictures(self.data.views[view], rows))
        loss = self._loss(logits.float(), features.float(), answers)
        steps_per_epoch = self.loop.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(epoch * steps_per_epoch + batch, steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def _loss(self, logits: Tensor, features: Tensor, answers: Tensor) -> Tensor:
        temperature = self.recipe.temperature
        with torch.no_grad():
            wanted = F.log_softmax(self._classifier(answers) / temperature, dim=1)
        found = F.log_softmax(logits / temperature, dim=1)
        divergence = F.kl_div(found, wanted, log_target=True, reduction="batchmean") * temperature**2
        error = F.mse_loss(features, (answers - self._mean) / self._std)
        return divergence + self.recipe.features_weight * error

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """On val pictures, whole: how often the first guess is the teacher's, and the share of its features' spread."""
        self.model.eval()
        same, error, spread = 0, 0.0, 0.0
        for start in range(0, len(self.data.val), _MEASURED_AT_ONCE):
            places = np.arange(start, min(start + _MEASURED_AT_ONCE, len(self.data.val)))
            answers = self._on_device(self.data.val_answers[places])
            with autocast(self.device):
                logits, features = self.model(self._pictures(self.data.val, places))
            same += int((logits.argmax(dim=1) == self._classifier(answers).argmax(dim=1)).sum())
            wanted = (answers - self._mean) / self._std
            error += float((features.float() - wanted).square().sum())
            spread += float(wanted.square().sum())
        return {"val_top1": same / max(1, len(self.data.val)), "val_features": 1 - error / max(spread, 1e-9)}

    def _pictures(self, crops: Crops, places: Array) -> Tensor:
        pixels = torch.from_numpy(crops.at(places, self._side)).to(self.device)
        return self._scale(pixels).contiguous(memory_format=torch.channels_last)  # type: ignore[no-any-return]

    def _on_device(self, rows: Array) -> Tensor:
        x = torch.from_numpy(np.asarray(rows, np.float32)).to(self.device)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def train_student(
    student: Trunk,
    teacher: Trunk,
    data: DistilData,
    last: nn.Module | None,
    recipe: DistilRecipe,
    checkpoint: Path,
    *,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
    epoch_done: Callable[[dict[str, float]], None] = lambda _row: None,
) -> tuple[Trunk, History]:
    """`student`, its network trained in place and with a classifier of its own, and one row of figures per epoch.

    Interrupted at any time, a second call continues from the last checkpoint and ends with the same weights as a run
    in one piece.
    """
    trainer = DistilTrainer(student, teacher, data, last, recipe, checkpoint)

    def epoch_end(epoch: int, mean_loss: float, history: History) -> bool:
        hours = round(trainer.loop.seconds / 3600, 3)
        history.append({"epoch": epoch + 1, "hours": hours, "train_loss": mean_loss, **trainer.measure()})
        epoch_done(history[-1])
        return False

    history = trainer.loop.run(trainer.step, epoch_end, progress)
    model = trainer.model.cpu().eval()
    classifier = model.classes.requires_grad_(False)
    source = _source(student, teacher)
    return replace(student, source=source, classifier=classifier, class_names=teacher.class_names), history


def _source(student: Trunk, teacher: Trunk) -> str:
    """Where the student's weights are from, in words; one who learned from this teacher before has gone on."""
    learned = f"learned from {teacher.name} ({teacher.source})"
    if student.source.startswith(learned):
        return student.source
    return learned if student.source == "none" else f"{learned}, begun with {student.source}"
