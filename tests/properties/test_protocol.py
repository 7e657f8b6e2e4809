"""Wire formats: what botocore serialises we parse, what we serialise botocore parses.

For each operation of the cloud's own services, hypothesis draws requests and answers from the model's shapes.
"""

import datetime
import math
from urllib.parse import parse_qsl, urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portside.cloud.protocol import parse, serialise
from portside.cloud.protocol.client import _Insensitive
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model

SERVICES = {
    "ecs": ["CreateService", "DescribeTasks", "RegisterTaskDefinition", "RunTask", "ListClusters"],
    "ecr": ["CreateRepository", "DescribeImages", "UploadLayerPart", "PutImage"],
    "logs": ["PutLogEvents", "FilterLogEvents", "DescribeLogGroups"],
    "cloudformation": ["CreateStack", "DescribeStacks", "DescribeStackEvents", "CreateChangeSet", "ListExports"],
    "elbv2": ["CreateTargetGroup", "RegisterTargets", "DescribeTargetHealth", "CreateRule", "DescribeListeners"],
    "sts": ["GetCallerIdentity", "AssumeRole"],
    "codebuild": ["CreateProject", "StartBuild", "BatchGetBuilds", "BatchGetProjects"],
    "codepipeline": ["CreatePipeline", "GetPipelineState", "ListActionExecutions", "PutApprovalResult"],
    "codeconnections": ["CreateConnection", "ListConnections"],
}
CBOR = "smithy-rpc-v2-cbor"
PARSERS = {
    "json": parse.parse_json,
    CBOR: parse.parse_cbor,
    "query": lambda described, body: parse.parse_query(described, parse.form(body, "")),
}
MAKERS = {
    "json": serialise.json_response,
    CBOR: serialise.cbor_response,
    "query": serialise.query_response,
}
# Every protocol that a client may choose for the service.
OPERATIONS = [
    (service, name, protocol)
    for service, names in SERVICES.items()
    for name in names
    for protocol in model(service).metadata["protocols"]
]

# XML 1.0 has no control characters, and botocore's own client cannot send lone surrogates.
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), max_size=12)


def values(shape, depth=0):
    """Values that fit the shape: small, for speed, but with all kinds of members."""
    kind = shape.type_name
    if kind == "structure":
        required = set(shape.required_members)
        if depth > 3:
            members = {name: values(shape.members[name], depth + 1) for name in required}
            return st.fixed_dictionaries(members)
        fields = {name: values(member, depth + 1) for name, member in shape.members.items()}
        return st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    if kind == "list":
        return st.lists(values(shape.member, depth + 1), min_size=1, max_size=2)
    if kind == "map":
        return st.dictionaries(
            st.text("abcXYZ09", min_size=1, max_size=5), values(shape.value, depth + 1), min_size=1, max_size=2
        )
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        return st.integers(0, 2**31 - 1)
    if kind in ("float", "double"):
        return st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3))
    if kind == "timestamp":
        return st.integers(1_000_000_000, 2_000_000_000).map(float)
    if kind == "blob":
        return st.binary(min_size=1, max_size=20)
    return st.sampled_from(shape.enum) if shape.enum else TEXT.filter(bool)


def sent(shape, value):
    """As a client passes it: timestamps are moments."""
    kind = shape.type_name
    if kind == "structure":
        return {name: sent(shape.members[name], member) for name, member in value.items()}
    if kind == "list":
        return [sent(shape.member, member) for member in value]
    if kind == "map":
        return {key: sent(shape.value, member) for key, member in value.items()}
    if kind == "timestamp":
        return datetime.datetime.fromtimestamp(value, datetime.UTC)
    return value


def pruned(shape, value):
    """Empty structures have no form in a Query request."""
    kind = shape.type_name
    if kind == "structure":
        made = {name: pruned(shape.members[name], member) for name, member in value.items()}
        return {name: member for name, member in made.items() if member not in ({}, [], None)}
    if kind == "list":
        return [member for member in (pruned(shape.member, member) for member in value) if member != {}]
    if kind == "map":
        made = {key: pruned(shape.value, member) for key, member in value.items()}
        return {key: member for key, member in made.items() if member != {}}
    return value


def operation(service, name):
    return model(service).operation_model(name)


@pytest.mark.parametrize(("service", "name", "protocol"), OPERATIONS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_requests_of_botocore_are_parsed_back(service, name, protocol, data):
    described = operation(service, name)
    if described.input_shape is None:
        pytest.skip("no input")
    params = pruned(described.input_shape, data.draw(values(described.input_shape)))
    made = create_serializer(protocol, include_validation=False).serialize_to_request(
        sent(described.input_shape, params), described
    )
    body = urlencode(made["body"], doseq=True).encode() if isinstance(made["body"], dict) else made["body"]
    found = PARSERS[protocol](described, body)
    if protocol == "query":
        found = pruned(described.input_shape, found)
    assert found == params


@pytest.mark.parametrize(("service", "name", "protocol"), OPERATIONS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_answers_are_understood_by_botocore(service, name, protocol, data):
    described = operation(service, name)
    answer = data.draw(values(described.output_shape)) if described.output_shape is not None else {}
    response = MAKERS[protocol](described, answer, "request-1")
    parsed = create_parser(protocol).parse(
        {"status_code": response.status, "headers": _Insensitive(response.headers), "body": response.body},
        described.output_shape,
    )
    parsed.pop("ResponseMetadata")
    assert normal(described.output_shape, parsed) == normal(described.output_shape, answer)


def normal(shape, value):
    """Moments as seconds; absent and empty lists are one to a client."""
    if shape is None:
        return {}
    kind = shape.type_name
    if kind == "structure":
        return {
            name: normal(shape.members[name], member)
            for name, member in value.items()
            if member not in (None, [], {}) and name in shape.members
        }
    if kind == "list":
        return [normal(shape.member, member) for member in value]
    if kind == "map":
        return {key: normal(shape.value, member) for key, member in value.items()}
    if kind == "timestamp":
        seconds = value.timestamp() if isinstance(value, datetime.datetime) else value
        return math.floor(seconds)
    if kind in ("float", "double"):
        return float(value)
    return value


@given(st.binary(max_size=40))
def test_whatever_is_no_cbor_document_is_refused_in_aws_s_words(body):
    described = operation("codebuild", "StartBuild")
    try:
        parse.parse_cbor(described, body)
    except AwsError as error:
        assert error.code == "SerializationException"


@given(st.text(max_size=40))
def test_any_text_survives_an_xml_error(text):
    response = serialise.query_error(AwsError("ValidationError", text), "request-1")
    parsed = create_parser("query").parse({"status_code": 400, "headers": {}, "body": response.body}, None)
    assert parsed["Error"]["Code"] == "ValidationError"
    if text.isprintable() and text.strip() == text:
        assert (parsed["Error"]["Message"] or "") == text


@given(st.text("a1=&+%2Fé;\u20ac. c8", max_size=40), st.text("a1=&+%2F", max_size=20))
def test_the_fields_of_a_form_are_those_that_the_standard_library_finds(text, query):
    """Percent signs that begin nothing, bytes that are no UTF-8, and names without a value among them."""
    expected = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(text, keep_blank_values=True))
    assert parse.form(text.encode(), query) == expected


@given(st.floats(0, 4_000_000_000, allow_nan=False) | st.integers(0, 4_000_000_000_000).map(lambda n: n / 1000))
def test_a_moment_is_written_as_the_standard_library_writes_it(at):
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    assert serialise.iso(at) == serialise.iso(moment)
    assert serialise.iso(at) == moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
