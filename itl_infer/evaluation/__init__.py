"""How well a bundle finds captioned pictures: which captions, the ranks of what belongs together, and the figures."""

from itl_infer.evaluation.captioned import (
    EVERY_SPLIT,
    CaptionRank,
    Evaluation,
    choose_split,
    evaluate_embeddings,
    evaluate_index,
)

__all__ = [
    "EVERY_SPLIT",
    "CaptionRank",
    "Evaluation",
    "choose_split",
    "evaluate_embeddings",
    "evaluate_index",
]
