"""HTTP/JSON to protobuf by the contracts' annotations."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from gateway.http import openapi, transcode
from gateway.http.routes import Route, routes
from services.kit import errors


@pytest.fixture(scope="module")
def table() -> list[Route]:
    return routes()


def find(table: list[Route], verb: str, path: str) -> tuple[Route, dict[str, str]]:
    for route in table:
        variables = route.match(path)
        if variables is not None and route.verb == verb:
            return route, variables
    raise AssertionError(f"no route for {verb} {path}")


def request(table, verb, path, query=(), body=None):
    route, variables = find(table, verb, path)
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return transcode.request_of(route, variables, query, data)


def test_path_query_and_body_reach_their_fields(table):
    got = request(
        table, "GET", "/campaign/v1/campaigns/c1/activities", [("pageSize", "7"), ("page_token", "x")]
    )
    assert (got.parent, got.page_size, got.page_token) == ("campaigns/c1", 7, "x")
    got = request(
        table, "GET", "/campus/v1/schools", [("reviewState", "REVIEW_STATE_PENDING"), ("region", "150100")]
    )
    assert (got.region, got.review_state) == (150100, 1)
    got = request(table, "POST", "/campaign/v1/campaigns/c1:approve", body={"contentDigest": "a" * 64})
    assert (got.name, got.content_digest) == ("campaigns/c1", "a" * 64)
    got = request(
        table, "GET", "/evaluation/v1/funnels", [("activityNumbers", "1"), ("activityNumbers", "2")]
    )
    assert list(got.activity_numbers) == [1, 2]


def test_a_verb_wins_over_a_wildcard(table):
    route, _ = find(table, "POST", "/audience/v1/audiences:count")
    assert route.method.name == "CountAudience"


def test_a_patch_without_mask_changes_what_its_body_names(table):
    got = request(table, "PATCH", "/audience/v1/audiences/a1", body={"displayName": "新名", "etag": "3"})
    assert list(got.update_mask.paths) == ["display_name"]
    assert (got.audience.name, got.audience.etag) == ("audiences/a1", "3")
    got = request(
        table, "PATCH", "/audience/v1/audiences/a1", [("updateMask", "description")], {"displayName": "新名"}
    )
    assert list(got.update_mask.paths) == ["description"]


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "field"),
    [
        ("POST", "/campaign/v1/campaigns", (), {"displayNam": "x"}, "campaign.displayNam"),
        ("POST", "/campaign/v1/campaigns", (), {"period": {"start": "x"}}, "campaign.period.start"),
        ("POST", "/campaign/v1/campaigns", (), {"region": "here"}, "campaign.region"),
        ("POST", "/campaign/v1/campaigns", (), b"{", "body"),
        ("GET", "/campaign/v1/campaigns", [("pageSiz", "1")], None, "pageSiz"),
        ("GET", "/campaign/v1/campaigns", [("pageSize", "many")], None, "pageSize"),
        ("GET", "/campaign/v1/campaigns", [("pageSize", "1"), ("pageSize", "2")], None, "pageSize"),
        ("GET", "/campaign/v1/campaigns", [("state", "BEST")], None, "state"),
        ("GET", "/gateway/v1/traces", [("failed", "perhaps")], None, "failed"),
        ("GET", "/campaign/v1/campaigns", (), b"{}", "body"),
        ("POST", "/campaign/v1/campaigns/c1:launch", [("requestId", "1")], {}, "requestId"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(table, verb, path, query, body, field):
    with pytest.raises(errors.Invalid) as caught:
        request(table, verb, path, query, body)
    assert [name for name, _ in caught.value.fields] == [field]


@given(st.binary(max_size=200))
def test_no_body_breaks_the_door(body: bytes):
    route, variables = find(routes_once(), "POST", "/campaign/v1/campaigns")
    try:
        transcode.request_of(route, variables, (), body)
    except errors.Invalid:
        pass


_TABLE: list[Route] = []


def routes_once() -> list[Route]:
    if not _TABLE:
        _TABLE.extend(routes())
    return _TABLE


def test_the_openapi_document_is_valid(table, request):
    root = request.config.rootpath
    comments = openapi.Comments(root / "build" / "gen" / "iop.binpb")
    document = openapi.document(table, comments, "V")
    validate(document)
    launch = document["paths"]["/campaign/v1/campaigns/{campaign}:launch"]["post"]
    assert launch["summary"].startswith("Starts an approved campaign")
    assert sum(len(verbs) for verbs in document["paths"].values()) == len(table)
