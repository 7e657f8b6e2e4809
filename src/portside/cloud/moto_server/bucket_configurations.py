"""Configurations of buckets that moto does not keep, or not whole: analytics, inventory, metrics, tiers.

They are kept as they were sent and shown again; nothing is analysed, listed, measured or moved by them. They lie
at moto's own buckets, and so go with them. What else a bucket can be told and moto does not know is refused, for
moto would take it for the making or deleting of the bucket itself.
Source: the Amazon S3 API Reference, PutBucketAnalyticsConfiguration and its like.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

from portside.cloud.moto_server.journal import Request
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.serialise import Response

# The part of the address that says which kind, and the element that a configuration of the kind is.
KINDS = {
    "analytics": "AnalyticsConfiguration",
    "intelligent-tiering": "IntelligentTieringConfiguration",
    "inventory": "InventoryConfiguration",
    "metrics": "MetricsConfiguration",
}
REFUSED = frozenset(
    {
        "abac", "metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable",
        "metadataJournalTable", "metadataTable", "requestPayment",
    }
)  # fmt: skip
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
MOST = 1000
PAGE = 100
_KEPT = "portside_configurations"

Kept = dict[str, dict[str, str]]


def answer(request: Request) -> Response | None:
    """The answer to a request about such a configuration, None for every other. Raises AwsError."""
    parts = urlsplit(request.url)
    bucket, _, key = parts.path.lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not bucket or key or not query.keys() & (KINDS.keys() | REFUSED):
        return None
    for name in query:
        if name in REFUSED:
            raise AwsError("NotImplemented", f"The ancillary services do not keep {name} of buckets.", 501)
    kind = next(each for each in KINDS if each in query)
    kept = _of(unquote(bucket)).setdefault(kind, {})
    match request.method:
        case "PUT":
            return _put(kept, kind, query.get("id", ""), request.body)
        case "DELETE":
            _one(kept, query.get("id", ""))
            del kept[query["id"]]
            return Response(204, {"content-length": "0"}, b"")
        case "GET" if "id" in query:
            return _xml(_parsed(_one(kept, query["id"])))
        case "GET":
            return _listed(kept, kind, query.get("continuation-token", ""))
    raise AwsError("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)


def _of(bucket: str) -> Kept:
    from moto.s3.models import s3_backends

    if bucket not in s3_backends.bucket_accounts:
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    partition, account = s3_backends.bucket_accounts[bucket]
    found: Any = s3_backends[account][partition].get_bucket(bucket)
    kept: Kept = found.__dict__.setdefault(_KEPT, {})
    return kept


def _put(kept: dict[str, str], kind: str, identifier: str, body: bytes) -> Response:
    root = _parsed(body.decode("utf-8", "replace"))
    if root.tag != KINDS[kind] or not identifier or root.findtext("Id") != identifier:
        raise _malformed()
    if identifier not in kept and len(kept) >= MOST:
        raise AwsError(
            "TooManyConfigurations",
            f"You are attempting to create a new configuration but have already reached the {MOST}-configuration "
            "limit.",
        )
    kept[identifier] = ElementTree.tostring(root, encoding="unicode")
    return Response(200, {"content-length": "0"}, b"")


def _one(kept: dict[str, str], identifier: str) -> str:
    if identifier not in kept:
        raise AwsError("NoSuchConfiguration", "The specified configuration does not exist.", 404)
    return kept[identifier]


def _listed(kept: dict[str, str], kind: str, token: str) -> Response:
    name = KINDS[kind]
    root = ElementTree.Element(f"List{name}sResult" if kind == "inventory" else f"ListBucket{name}sResult")
    names = [each for each in sorted(kept) if each > token]
    more = len(names) > PAGE
    ElementTree.SubElement(root, "IsTruncated").text = "true" if more else "false"
    if token:
        ElementTree.SubElement(root, "ContinuationToken").text = token
    if more:
        ElementTree.SubElement(root, "NextContinuationToken").text = names[PAGE - 1]
    for each in names[:PAGE]:
        root.append(_parsed(kept[each]))
    return _xml(root)


def _xml(root: ElementTree.Element) -> Response:
    root.set("xmlns", NAMESPACE)
    body = DECLARATION + ElementTree.tostring(root)
    return Response(200, {"content-type": "application/xml", "content-length": str(len(body))}, body)


def _parsed(text: str) -> ElementTree.Element:
    """The document's root, all names without namespaces."""
    if "<!" in text:
        raise _malformed()
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - refused above what makes it dangerous
    except ElementTree.ParseError:
        raise _malformed() from None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def _malformed() -> AwsError:
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
