"""The API against requests made up from its own description: no crash, and no answer that it does not describe."""

from __future__ import annotations

import json
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.web import HostRule, make_app
from itl_infer.web.openapi import describe_api
from tests.tiny_bundle import make_tiny_bundle, save_colours

OPERATIONS = [(method, path) for path, methods in describe_api()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("fuzz")
    bundle = load_bundle(make_tiny_bundle(folder / "bundle"), threads=1)
    save_colours(folder / "pictures", ["red", "green", "blue"])
    index = Index.open(folder / "photos.itl", bundle)
    embed_directory(folder / "pictures", index)
    return schemathesis.openapi.from_asgi(
        "/api/openapi.json", make_app(index, HostRule("127.0.0.1", ["testserver"]))
    )


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
    # Of a path, or of nothing, there is no wrong kind.
    + [
        (*operation, GenerationMode.NEGATIVE)
        for operation in OPERATIONS
        if "query" in operation[1] or "post" in operation
    ],
)
def test_requests_from_the_description(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = api[path][method]
    refused = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500
        # Words that no one knows, or a body that is no picture, are refused however well they are formed.
        case.validate_response(
            answer, excluded_checks=[] if path == "/api/batch" else [positive_data_acceptance]
        )
        refused.append(answer.status_code == 403)

    check()
    assert not all(refused)


def test_the_description_is_valid() -> None:
    validator = pytest.importorskip("jsonschema_rs")
    described = describe_api()
    for schema in described["components"]["schemas"].values():
        validator.meta.validate({**schema, "components": described["components"]})
    json.dumps(described)
