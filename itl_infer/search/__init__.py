"""Query to answer: the best pictures, where to stop, what each word did, where a picture stands."""

from itl_infer.search.answer import Answer, Duplicate, Found, Place, Share, Word
from itl_infer.search.duplicates import NEAR_DUPLICATE
from itl_infer.search.negation import Negated, split_negations
from itl_infer.search.query import EmbeddedQuery, Query, Term, embed_each
from itl_infer.search.searcher import SORTS, AnswerMany, Searcher, Sort

__all__ = [
    "NEAR_DUPLICATE",
    "SORTS",
    "Answer",
    "AnswerMany",
    "Duplicate",
    "EmbeddedQuery",
    "Found",
    "Negated",
    "Place",
    "Query",
    "Searcher",
    "Share",
    "Sort",
    "Term",
    "Word",
    "embed_each",
    "split_negations",
]
