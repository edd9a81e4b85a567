"""How well a bundle finds pictures: captioned ones, both ways, and labelled ones by their names."""

from itl_infer.evaluation.captioned import (
    EVERY_SPLIT,
    CaptionRank,
    Evaluation,
    choose_split,
    evaluate_bundle,
    evaluate_dataset,
    evaluate_embeddings,
    evaluate_index,
)
from itl_infer.evaluation.labelled import LabelledEvaluation, NameResult, evaluate_labelled
from itl_infer.evaluation.taught import (
    TaughtEvaluation,
    evaluate_taught_captions,
    evaluate_taught_labels,
)

__all__ = [
    "EVERY_SPLIT",
    "CaptionRank",
    "Evaluation",
    "LabelledEvaluation",
    "NameResult",
    "TaughtEvaluation",
    "choose_split",
    "evaluate_bundle",
    "evaluate_dataset",
    "evaluate_embeddings",
    "evaluate_index",
    "evaluate_labelled",
    "evaluate_taught_captions",
    "evaluate_taught_labels",
]
