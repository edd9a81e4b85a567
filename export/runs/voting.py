"""From captioned pictures, a trunk that votes and teachers to two encoders; each step resumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.branches.curve import best_row, branch_note
from export.branches.voting.data import VotingData
from export.branches.voting.encoders import (
    CaptionBranch,
    Names,
    PictureBranch,
    VotingImageEncoder,
    VotingModel,
    centred,
)
from export.branches.voting.recipe import VotingRecipe
from export.branches.voting.train import Voters, train_voting
from export.bundle.record import TrainingRecord
from export.data.words import LearnedWords
from export.errors import ExportError
from export.features.scores import NamedScores
from export.features.sentences import meanings_of
from export.features.things import ThingsHead, things_seen, train_things_head
from export.features.views import views_of
from export.loop import History
from export.report import Reporter
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, describe_faults, join_datasets
from itl_infer.text import TextProcessor, TextRules

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class VotingRun:
    """What came of a run."""

    image_encoder: VotingImageEncoder
    text_encoder: CaptionBranch
    processor: TextProcessor
    history: History
    pictures: int  # trained on
    captions: int
    unreadable: dict[str, str]  # path: reason, of the pictures that were left out

    def record(self, data: dict[str, Any], recipe: VotingRecipe) -> TrainingRecord:
        """For the manifest of a bundle."""
        return TrainingRecord(data, recipe, self.history, pictures=self.pictures, captions=self.captions)


@dataclass(frozen=True)
class _Views:
    """What the trunk says of the pictures, without those that cannot be read; a view is records, row by row."""

    train: CaptionDataset
    val: CaptionDataset
    of_train: list[Array]  # as they are, and in a mirror
    of_val: Array
    unreadable: dict[str, str]


def run_voting(
    parts: Sequence[CaptionDataset],
    val: CaptionDataset,
    trunk: Trunk,
    scores: NamedScores | None,
    rules: TextRules,
    recipe: VotingRecipe,
    work: Path,
    reporter: Reporter,
    *,
    min_count: int = 2,
    without_words: Sequence[str] = (),
) -> VotingRun:
    """Train on `parts`, pictures with captions and without, and choose on the captions of `val`.

    `scores` are what a teacher says of things in the pictures, which a head on the trunk's map learns to see. Stems
    that occur less than `min_count` times in the captions are left out, but for those of names; those of
    `without_words` are left out of both. Interrupted at any
    time, the same call goes on where it stopped. Raises ExportError for a trunk without classifier and names.
    """
    if trunk.classifier is None or not trunk.class_names:
        raise ExportError(
            f"the recipe {recipe.name} needs the votes of a classifier with names, and {trunk.name} (weights:"
            f" {trunk.source}) has none: take --trunk-weights imagenet, or another --recipe"
        )
    cache = work / "cache"
    views = _look(parts, val, trunk, cache, reporter)
    class_names = list(trunk.class_names)
    thing_names = [(name,) for name in scores.names] if scores else []
    names = [*class_names, *thing_names]
    processor = _processor(views.train.captions, names, rules, min_count, without_words)
    _say_what_is_trained_on(views.train, processor, reporter)

    head, taught = None, np.zeros((len(views.train), 0), np.float32)
    if scores is not None:
        taught, known = scores.rows(views.train.paths)
        head = _things_head(views.of_train, taught, known, recipe, work, reporter)
    reporter.say("Reading what the captions mean")
    meanings = meanings_of(views.train.captions, cache, reporter.progress)
    sources = np.array([example.extra["source"] for example in views.train], dtype=np.int64)
    data = _data(views.train, views.of_train, head, taught, sources, processor, meanings)
    no_scores = np.zeros((len(views.val), taught.shape[1]), np.float32)
    of_one_source = np.zeros(len(views.val), np.int64)
    val_data = _data(views.val, [views.of_val], head, no_scores, of_one_source, processor)
    voters = Voters(
        trunk.classifier, _names(processor, class_names), _names(processor, thing_names) if scores else None
    )
    torch.manual_seed(recipe.seed)  # a run that goes on must start from the same place
    model = VotingModel(
        CaptionBranch(len(processor.stems), recipe.stem_dim, recipe.hidden, recipe.dropout),
        PictureBranch(data.features[0][data.sources == 0], recipe.hidden, recipe.dropout, recipe.gains),
    )
    model.captions.start_from(meanings_of(list(processor.words), cache, reporter.progress))
    model, history = _train(model, data, val_data, voters, recipe, work / "branches", reporter)
    return VotingRun(
        _image_encoder(model, trunk, voters, head, recipe),
        model.captions,
        processor,
        history,
        len(views.train),
        len(views.train.captions),
        views.unreadable,
    )


def _look(
    parts: Sequence[CaptionDataset], val: CaptionDataset, trunk: Trunk, cache: Path, reporter: Reporter
) -> _Views:
    train = join_datasets("training", *(_of_source(part, number) for number, part in enumerate(parts)))
    reporter.say(f"Looking at {len(train):,} training and {len(val):,} val pictures at {trunk.side} pixels")
    views = [
        views_of(train, trunk, cache, reporter.progress, mirrored=mirrored) for mirrored in (False, True)
    ]
    val_view = views_of(val, trunk, cache, reporter.progress)
    return _Views(
        train.without(views[0].failed),
        val.without(val_view.failed),
        [rows.array for rows in views],
        val_view.array,
        views[0].failed | val_view.failed,
    )


def _of_source(part: CaptionDataset, number: int) -> CaptionDataset:
    examples = tuple(replace(example, extra={**example.extra, "source": number}) for example in part)
    return replace(part, examples=examples)


def _processor(
    captions: Sequence[str],
    names: Sequence[Sequence[str]],
    rules: TextRules,
    min_count: int,
    without_words: Sequence[str],
) -> TextProcessor:
    """For the words of captions that occur often enough, and for all of names."""
    texts = Counter(captions)
    for synonyms in names:
        texts.update(dict.fromkeys(synonyms, min_count))
    return LearnedWords(texts, rules, min_count=min_count, without=without_words)


def _say_what_is_trained_on(train: CaptionDataset, processor: TextProcessor, reporter: Reporter) -> None:
    without_words = train.captions_without_words(lambda caption: bool(processor.ids_of(caption)))
    lines = [train.describe(), f"  {len(processor.stems):,} stems in captions and names"]
    reporter.say("\n".join([*lines, *describe_faults(without_words)]))


def _things_head(
    records: list[Array],
    taught: Array,
    known: Array,
    recipe: VotingRecipe,
    work: Path,
    reporter: Reporter,
) -> ThingsHead:
    rows = np.flatnonzero(known)
    reporter.say(f"Learning to see {taught.shape[1]} things in {len(rows):,} pictures")
    return train_things_head(
        records,
        rows,
        taught[rows],
        recipe.things,
        work / "things",
        lambda state: reporter.progress(state.step, state.steps, f"loss {state.loss:.3f}"),
    )


def _seen(head: ThingsHead | None, view: Array) -> Array:
    return np.zeros((len(view), 0), np.float32) if head is None else things_seen(head, view)


def _names(processor: TextProcessor, names: Sequence[Sequence[str]]) -> Names:
    owned = [(owner, name) for owner, synonyms in enumerate(names) for name in dict.fromkeys(synonyms)]
    owners = np.array([owner for owner, _ in owned], dtype=np.int64)
    return Names(processor.input_ids([name for _, name in owned]), owners, len(names))


def _data(
    part: CaptionDataset,
    views: list[Array],
    head: ThingsHead | None,
    taught: Array,
    sources: Array,
    processor: TextProcessor,
    meanings: Array | None = None,
) -> VotingData:
    return VotingData(
        tuple(np.ascontiguousarray(view["features"]) for view in views),
        tuple(_seen(head, view) for view in views),
        taught,
        sources,
        processor.input_ids(part.captions),
        np.array(part.caption_owners, dtype=np.int64),
        meanings,
    )


def _train(
    model: VotingModel,
    data: VotingData,
    val_data: VotingData,
    voters: Voters,
    recipe: VotingRecipe,
    folder: Path,
    reporter: Reporter,
) -> tuple[VotingModel, History]:
    reporter.say("Training the branches")
    model, history = train_voting(
        model,
        data,
        val_data,
        voters,
        recipe,
        folder,
        lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
    )
    best = best_row(history)
    reporter.say(f"Best on val at epoch {best['epoch']}: rsum {best['val_rsum']:.1f}")
    return model, history


def _image_encoder(
    model: VotingModel, trunk: Trunk, voters: Voters, head: ThingsHead | None, recipe: VotingRecipe
) -> VotingImageEncoder:
    """The trained branch behind the trunk and the head, with what the names of classes and things mean to it."""
    with torch.no_grad():
        classes = centred(voters.classes.texts(model.captions))
        things = None if voters.things is None else centred(voters.things.texts(model.captions))
    encoder = VotingImageEncoder(trunk, model.pictures, classes, recipe.vote_temperature, head, things)
    return encoder.eval()
