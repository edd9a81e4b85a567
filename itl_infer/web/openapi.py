"""What the API takes and gives, in the words of OpenAPI 3.1, and the limits that it sets."""

from __future__ import annotations

from typing import Any

from itl_infer import __version__
from itl_infer.search import SORTS
from itl_infer.where import DATE_FORM, ORIENTATIONS, RANGE_FORM

LIMITS = {
    "k": 1000,
    "k_default": 25,
    "offset": 100_000,
    "text": 10_000,  # characters of one text
    "terms": 50,  # texts added or subtracted
    "marks": 200,  # pictures that are wanted, or not
    "queries": 1000,  # of one batch
    "batch_bytes": 2**21,
    "picture_bytes": 25 * 2**20,
    "explained": 300,  # words and pictures of a query that are explained
    "shares": 20_000,  # those words times pictures, of all queries of a request
    "results": 100_000,  # queries of a batch times k
    "folded": 2000,  # pictures under which near-duplicates are folded, pages before among them
    "answer_bytes": 8 * 2**20,
}


SEVERAL = ("under", "name", "camera")  # filters that may be given several times
DATES = ("taken", "newer", "older")


def describe_api(root_path: str = "") -> dict[str, Any]:
    """The OpenAPI description, of an API whose paths begin at `root_path`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "itl-infer",
            "version": __version__,
            "description": "Search indexed pictures; answers are those of `itl-infer query --format json`.",
        },
        **({"servers": [{"url": root_path}]} if root_path else {}),
        "paths": {
            "/api/query": {
                "get": {
                    "summary": "The pictures that fit a query best",
                    "parameters": [_text("q", "What to look for"), _LIKE, *_MARKS, *_SUM, *_OPTIONS],
                    "responses": _responses("Answer", 400, 404),
                }
            },
            "/api/similar": {
                "post": {
                    "summary": "The pictures that look most like the one that is sent",
                    "parameters": [_text("q", "A text to add"), *_MARKS, *_SUM, *_OPTIONS],
                    "requestBody": {
                        "required": True,
                        "description": f"A picture of at most {LIMITS['picture_bytes']} bytes",
                        "content": {"image/*": {}},
                    },
                    "responses": _responses("Answer", 400, 404, 408, 413, 503),
                }
            },
            "/api/batch": {
                "post": {
                    "summary": "Many queries at once",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _BATCH}}},
                    "responses": _responses("Answers", 400, 408, 413, 503),
                }
            },
            "/api/complete": {
                "get": {
                    "summary": "Known words that begin so, and below them words that are read as others",
                    "parameters": [_text("prefix", "The beginning of a word")],
                    "responses": _responses("Words", 400),
                }
            },
            "/api/names": {
                "get": {"summary": "The names that were taught", "responses": _responses("Names")},
                "post": {
                    "summary": "Teach a name from pictures that show it, and some that do not",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _NAME}}},
                    "responses": _responses("Taught", 400, 404, 408, 413, 503),
                },
            },
            "/api/status": {"get": {"summary": "What is searched", "responses": _responses("Status")}},
            "/thumbnails/{id}": {"get": {**_picture("A small picture")}},
            "/pictures/{id}": {"get": {**_picture("A picture, at most 2560 pixels long")}},
        },
        "components": {"schemas": _SCHEMAS},
    }


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _text(name: str, description: str) -> dict[str, Any]:
    return _parameter(name, description, {"type": "string", "maxLength": LIMITS["text"]})


def _texts(name: str, description: str) -> dict[str, Any]:
    texts = {"type": "string", "maxLength": LIMITS["text"]}
    return _parameter(name, description, {"type": "array", "maxItems": LIMITS["terms"], "items": texts})


def _responses(schema: str, *errors: int) -> dict[str, Any]:
    def response(description: str, name: str) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        return {"description": description, "content": content}

    return {
        "200": response("Done", schema),
        **{str(status): response(_ERRORS[status], "Error") for status in errors},
    }


def _picture(summary: str) -> dict[str, Any]:
    identity = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "summary": summary,
        "parameters": [identity],
        "responses": {
            "200": {
                "description": "The picture, or a drawing that says why it cannot be read",
                "content": {"image/jpeg": {}, "image/svg+xml": {}},
            },
            "304": {"description": "Unchanged"},
            "404": _responses("Error", 404)["404"],
        },
    }


_ERRORS = {
    400: "Something in the request is wrong, or no word of the query is known",
    404: "No such picture in the index",
    408: "The body came too slowly",
    413: "The body is too large",
    503: "Too much at a time: try again",
}
_LIKE = _parameter("like", "The id of an indexed picture to add", {"type": "string"})
_IDS = {"type": "array", "maxItems": LIMITS["marks"], "items": {"type": "string"}}
_MARKS = [
    _parameter(
        "wanted", "Ids of pictures that show what is wanted: the others are ranked by them, too", _IDS
    ),
    _parameter("unwanted", "Ids of pictures that show what is not wanted; they come last", _IDS),
]
_NAME = {
    "type": "object",
    "required": ["name", "wanted"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "wanted": {**_IDS, "description": "Ids of pictures that show it"},
        "unwanted": {**_IDS, "description": "Ids of pictures that look like it and are not"},
    },
}
_SUM = [
    _texts("add", "Texts to add"),
    _texts("subtract", "Texts to subtract"),
    _texts("weighted", 'Texts to add with weights of their own before them, as "0.5 night" or "-0.5 night"'),
    _parameter(
        "image_weight", "Weight of each picture; that of a text is 1", {"type": "number", "default": 1}
    ),
]
_TEXTS = {
    "type": "array",
    "maxItems": LIMITS["terms"],
    "items": {"type": "string", "maxLength": LIMITS["text"]},
}
_DATE = {"type": "string", "maxLength": LIMITS["text"]}
_PROPERTIES: dict[str, dict[str, Any]] = {
    "k": {"type": "integer", "minimum": 1, "maximum": LIMITS["k"], "default": LIMITS["k_default"]},
    "offset": {"type": "integer", "minimum": 0, "maximum": LIMITS["offset"], "default": 0},
    "min_score": {"type": "number"},
    "relevant": {"type": "boolean"},
    "dedupe": {"type": "boolean"},
    "explain": {"type": "boolean"},
    "understand_not": {"type": "boolean"},
    "as_word": {"type": "boolean"},
    "under": _TEXTS,
    "name": _TEXTS,
    "taken": _DATE,
    "newer": _DATE,
    "older": _DATE,
    "camera": _TEXTS,
    "orientation": {"enum": list(ORIENTATIONS)},
    "gps": {"type": "boolean"},
    "sort": {"enum": list(SORTS), "default": SORTS[0]},
}
_MEANINGS = {
    "k": (
        f"How many pictures at most; in a batch, times the queries at most {LIMITS['results']}. No answer is longer"
        f" than {LIMITS['answer_bytes']} bytes"
    ),
    "offset": "How many of the best to pass over: those of the page before",
    "min_score": "Leave out pictures of a lower score",
    "relevant": "Leave out pictures whose scores do not stand out",
    "dedupe": f"Fold near-duplicates under the best of them, in the first {LIMITS['folded']} pictures, the last then",
    "explain": (
        f"Say what became of each word, and what each did: of at most {LIMITS['explained']} words and pictures, and of"
        f" at most {LIMITS['shares']} of them times the pictures found (k)"
    ),
    "understand_not": "Subtract what the text says is not to be seen",
    "as_word": "Read names that were taught as words",
    "under": "Only pictures in one of these folders: a path, or its end from a remembered folder on",
    "name": "Only files called as one of these globs says",
    "taken": f"Only pictures taken then: {RANGE_FORM}",
    "newer": f"Only pictures taken on a date or after it: {DATE_FORM}",
    "older": f"Only pictures taken before a date: {DATE_FORM}",
    "camera": "Only pictures of a camera whose make and model hold the words of one of these",
    "orientation": "Only pictures that lie, stand, or are as wide as high",
    "gps": "Only pictures with, or without, a place in them",
    "sort": "In which order: the best first, or the oldest",
}
_OPTIONS = [_parameter(name, _MEANINGS[name], schema) for name, schema in _PROPERTIES.items()]
_BATCH = {
    "type": "object",
    "required": ["queries"],
    "properties": {
        "queries": {
            "type": "array",
            "maxItems": LIMITS["queries"],
            "items": {"type": "string", "maxLength": LIMITS["text"]},
        },
        **{name: {**schema, "description": _MEANINGS[name]} for name, schema in _PROPERTIES.items()},
    },
}
_STRINGS = {"type": "array", "items": {"type": "string"}}
_SCHEMAS: dict[str, Any] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Words": {"type": "object", "required": ["words"], "properties": {"words": _STRINGS}},
    "Names": {"type": "object", "required": ["names"], "properties": {"names": _STRINGS}},
    "Taught": {
        "type": "object",
        "required": ["name", "examples", "against", "added"],
        "properties": {
            "name": {"type": "string"},
            "examples": {"type": "integer"},
            "against": {"type": "integer"},
            "added": {"type": "integer"},
            "repeated": _STRINGS,
            "notes": _STRINGS,
        },
    },
    "Status": {
        "type": "object",
        "required": ["pictures", "bundle", "domain"],
        "properties": {
            "pictures": {"type": "integer"},
            "bundle": {"type": "string"},
            "domain": {"type": "string"},
            "next": {"type": "string", "description": "What adds pictures, where there are none"},
        },
    },
    "Answers": {
        "type": "object",
        "required": ["answers"],
        "properties": {
            "answers": {
                "type": "array",
                "items": {
                    "anyOf": [{"$ref": "#/components/schemas/Answer"}, {"$ref": "#/components/schemas/Error"}]
                },
            }
        },
    },
    "Answer": {
        "type": "object",
        "required": ["query", "ignored_words", "unknown_words", "results"],
        "properties": {
            "query": {"type": ["string", "null"]},
            "images": _STRINGS,
            "add": _STRINGS,
            "subtract": _STRINGS,
            "like": _STRINGS,
            "unlike": _STRINGS,
            "taught": _STRINGS,
            "ignored_words": _STRINGS,
            "unknown_words": _STRINGS,
            "read_as": {
                "type": "object",
                "description": "By words that no caption had: the known stems that each is read as, with weights",
                "additionalProperties": {
                    "type": "array",
                    "items": {
                        "type": "array",
                        "prefixItems": [{"type": "string"}, {"type": "number"}],
                        "minItems": 2,
                        "maxItems": 2,
                    },
                },
            },
            "notes": _STRINGS,
            "words": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["word", "use"],
                    "properties": {
                        "word": {"type": "string"},
                        "use": {"enum": ["taught", "used", "carried", "dropped", "unknown"]},
                        "did_you_mean": _STRINGS,
                        "read_as": _STRINGS,
                    },
                },
            },
            "relevant_from": {"type": "number"},
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["rank", "score", "path", "id"],
                    "properties": {
                        "rank": {"type": "integer"},
                        "score": {"type": "number"},
                        "path": {"type": "string"},
                        "id": {"type": "string"},
                        "taken": {
                            "type": ["string", "null"],
                            "description": "By the clock where it was taken, 2019-07-03T14:05:06",
                        },
                        "camera": {"type": ["string", "null"]},
                        "width": {"type": ["integer", "null"]},
                        "height": {"type": ["integer", "null"]},
                        "shares": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["term", "share"],
                                "properties": {
                                    "term": {"type": "string"},
                                    "weight": {"type": "number"},
                                    "share": {"type": "number"},
                                },
                            },
                        },
                        "duplicates": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["score", "path"],
                                "properties": {"score": {"type": "number"}, "path": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    },
}
