"""The container registry: the OCI distribution specification, as an ASGI application for everything under /v2/.

Owns who may come in, which repository a path is about, manifests, tags and referrers. Blobs are in `transfers.py`,
rules in `catalogue.py`. The registry's host name tells the region; under any other host the default region is
meant. Logs in with what `GetAuthorizationToken` hands out, and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine_names import NOTING
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ecr import manifests, records
from portside.cloud.services.ecr.catalogue import (
    BlobsAreMissing,
    Catalogue,
    ChildrenAreMissing,
    DigestDiffers,
    TagIsFixed,
)
from portside.cloud.services.ecr.exchange import ClientGone, Exchange, Receive, RegistryError, Send
from portside.cloud.services.ecr.manifests import ManifestInvalid
from portside.cloud.services.ecr.names import is_digest, is_repository, is_tag, region_of_host, repository_uri
from portside.cloud.services.ecr.records import Image, Repository
from portside.cloud.services.ecr.tokens import Tokens, Verdict
from portside.cloud.services.ecr.transfers import Transfers

_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:manifests/(?P<manifest>[^/]+)|blobs/uploads/?(?P<begin>)|"
    r"blobs/uploads/(?P<upload>[^/]+)|blobs/(?P<blob>[^/]+)|(?P<tags>tags/list)|referrers/(?P<subject>[^/]+))"
)
_PAGE = 1000


# The permission that each kind of request needs, as the API's operation of the same effect.
_MANIFEST_ACTIONS = {"GET": "BatchGetImage", "HEAD": "BatchGetImage", "PUT": "PutImage"}
_BLOB_ACTIONS = {"GET": "GetDownloadUrlForLayer", "HEAD": "BatchCheckLayerAvailability"}
_UPLOAD_ACTIONS = {"PATCH": "UploadLayerPart", "PUT": "CompleteLayerUpload"}

# Raises AwsError unless the role session with this access key may do the action: key, action, resource, region.
Permit = Callable[[str, str, str, str], Awaitable[None]]


class Registry:
    """The ASGI application. `region` is meant by requests whose host names none. `permit` decides about logins of
    role sessions; those of the account itself may do everything."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        account: str,
        region: str,
        clock: Clock,
        log: Log,
        permit: Permit | None = None,
    ) -> None:
        self._permit = permit
        self._catalogue = catalogue
        self._tokens = Tokens(catalogue.key)
        self._transfers = Transfers(catalogue)
        self._account = account
        self._region = region
        self._clock = clock
        self._log = log.bind(part="registry")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await self._route(exchange, self._let_in(exchange))
        except RegistryError as error:
            await exchange.refuse(error)
        except ClientGone:
            return
        except Exception as error:
            self._log.error("registry request failed", path=exchange.path, error=repr(error), exc_info=error)
            if exchange.answered:
                raise
            await exchange.refuse(RegistryError("UNKNOWN", "portside failed to answer; its log tells why."))

    def _let_in(self, exchange: Exchange) -> str:
        """The access key of the role session that logged in, empty for the account itself."""
        now = self._clock.now()
        signature = exchange.query("X-Amz-Signature")
        if signature is not None and exchange.method in ("GET", "HEAD"):
            expires = exchange.query("X-Amz-Expires") or ""
            region = exchange.query("region") or ""
            if self._tokens.check_path(f"{region}{exchange.path}", expires, signature, now):
                return ""
            raise RegistryError("DENIED", "The signed address is not valid, or not any more.")
        header = exchange.headers.get("authorization", "")
        verdict = self._tokens.check_header(header, now) if header else Verdict.WRONG
        if verdict is Verdict.EXPIRED:
            raise RegistryError(
                "DENIED", "Your authorization token has expired. Reauthenticate and try again.", status=403
            )
        if verdict is Verdict.WRONG:
            realm = f"{exchange.scheme}://{exchange.host}/"
            raise RegistryError(
                "UNAUTHORIZED",
                "Not Authorized",
                headers={"www-authenticate": f'Basic realm="{realm}",service="ecr.amazonaws.com"'},
            )

        return self._tokens.session_of(header)

    async def _allow(self, session: str, region: str, repository: str, action: str | None) -> None:
        if not session or action is None or self._permit is None:
            return
        resource = f"arn:aws:ecr:{region}:{self._account}:repository/{repository}" if repository else "*"
        try:
            await self._permit(session, f"ecr:{action}", resource, region)
        except AwsError as error:
            raise RegistryError("DENIED", error.message) from None

    async def _route(self, exchange: Exchange, session: str) -> None:
        if exchange.path in ("/v2", "/v2/"):
            await exchange.json({})
            return
        if exchange.path == "/v2/_catalog":
            await self._allow(session, self._region_of(exchange), "", "DescribeRepositories")
            await self._list(exchange, "repositories", {}, [r.name for r in self._repositories(exchange)])
            return
        found = _PATH.fullmatch(exchange.path)
        if found is None:
            raise RegistryError("NAME_UNKNOWN", f"The registry has nothing at {exchange.path}.")
        await self._allow(session, self._region_of(exchange), found["name"], _action(exchange.method, found))
        repository = self._repository(exchange, found["name"])
        if found["manifest"] is not None:
            await self._manifest(exchange, repository, found["manifest"])
        elif found["begin"] is not None:
            await self._transfers.begin(exchange, repository)
        elif found["upload"] is not None:
            await self._transfers.go_on(exchange, repository, found["upload"])
        elif found["blob"] is not None:
            await self._transfers.blob(exchange, repository, found["blob"])
        elif found["tags"] is not None:
            tags = sorted(
                tag
                for image in records.images(self._catalogue.database, repository.region, repository.name)
                for tag in image.tags
            )
            await self._list(exchange, "tags", {"name": repository.name}, tags)
        else:
            await self._referrers(exchange, repository, found["subject"])

    def _region_of(self, exchange: Exchange) -> str:
        return region_of_host(exchange.host) or exchange.query("region") or self._region

    def _repositories(self, exchange: Exchange) -> list[Repository]:
        return records.repositories(self._catalogue.database, self._region_of(exchange))

    def _repository(self, exchange: Exchange, name: str) -> Repository:
        if not is_repository(name):
            raise RegistryError("NAME_INVALID", f"'{name}' is not a valid repository name.")
        found = records.repository(self._catalogue.database, self._region_of(exchange), name)
        if found is None:
            raise RegistryError(
                "NAME_UNKNOWN",
                f"The repository with name '{name}' does not exist in the registry with id '{self._account}'",
            )
        return found

    # Manifests

    async def _manifest(self, exchange: Exchange, repository: Repository, reference: str) -> None:
        match exchange.method:
            case "GET" | "HEAD":
                await self._pull(exchange, repository, reference)
            case "PUT":
                await self._push(exchange, repository, reference)
            case _:
                raise RegistryError("UNSUPPORTED", "Images are deleted through the API, by BatchDeleteImage.")

    async def _pull(self, exchange: Exchange, repository: Repository, reference: str) -> None:
        image = self._find(repository, reference)
        if image is None:
            raise RegistryError(
                "MANIFEST_UNKNOWN",
                "Requested image not found",
                {"name": repository.name, "reference": reference},
            )
        if exchange.method == "GET" and NOTING.lower() not in exchange.headers:
            with self._catalogue.database.write() as tx:
                records.note_pull(tx, image.region, image.repository, image.digest, self._clock.now())
        await exchange.answer(
            200,
            {
                "content-type": image.media_type,
                "content-length": str(len(image.manifest)),
                "docker-content-digest": image.digest,
                "etag": f'"{image.digest}"',
            },
            image.manifest,
        )

    def _find(self, repository: Repository, reference: str) -> Image | None:
        region, name, database = repository.region, repository.name, self._catalogue.database
        digest: str | None = reference if ":" in reference else records.tagged(database, region, name, reference)
        return None if digest is None else records.image(database, region, name, digest)

    async def _push(self, exchange: Exchange, repository: Repository, reference: str) -> None:
        digest = reference if is_digest(reference) else None
        tag = None if digest else reference
        if tag is not None and not is_tag(tag):
            raise RegistryError("TAG_INVALID", f"'{tag}' is not a valid tag.")
        raw = await exchange.whole_body(manifests.LARGEST)
        try:
            stored = self._catalogue.put_image(
                repository, raw, exchange.headers.get("content-type", ""), tag, digest
            )
        except ManifestInvalid as invalid:
            raise RegistryError("MANIFEST_INVALID", str(invalid)) from None
        except DigestDiffers as differs:
            raise RegistryError(
                "DIGEST_INVALID", "provided digest did not match uploaded content", {"found": differs.found}
            ) from None
        except ChildrenAreMissing as missing:
            raise RegistryError(
                "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry", {"digest": missing.digests[0]}
            ) from None
        except BlobsAreMissing as missing:
            raise RegistryError(
                "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", {"digest": missing.digests[0]}
            ) from None
        except TagIsFixed:
            raise RegistryError(
                "TAG_INVALID",
                f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be"
                " overwritten because the repository is immutable.",
            ) from None
        uri = repository_uri(self._account, repository.region, repository.name)
        self._log.info("image pushed", repository=uri, tag=tag, digest=stored.image.digest)
        headers = {
            "location": f"/v2/{repository.name}/manifests/{stored.image.digest}",
            "docker-content-digest": stored.image.digest,
        }
        if stored.image.subject is not None:
            headers["oci-subject"] = stored.image.subject
        await exchange.answer(201, headers)

    async def _referrers(self, exchange: Exchange, repository: Repository, subject: str) -> None:
        if not is_digest(subject):
            raise RegistryError("DIGEST_INVALID", f"'{subject}' is not a sha256 digest.")
        wanted = exchange.query("artifactType")
        found = records.referrers(self._catalogue.database, repository.region, repository.name, subject)
        listed = [_referrer(image) for image in found if wanted in (None, "", image.artifact_type)]
        headers = {"content-type": manifests.OCI_INDEX}
        if wanted:
            headers["oci-filters-applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": listed}
        await exchange.json(index, headers)

    async def _list(self, exchange: Exchange, key: str, first: dict[str, Any], names: list[str]) -> None:
        """A page of names in lexical order: at most `n`, after `last`."""
        limit = exchange.query("n")
        if limit is not None and not limit.isdigit():
            raise RegistryError("UNSUPPORTED", f"'{limit}' is not a number of names.", status=400)
        count = min(_PAGE, int(limit)) if limit is not None else _PAGE
        last = exchange.query("last")
        after = [name for name in names if last is None or name > last]
        page = after[:count]
        headers = {}
        if page and len(after) > len(page):
            headers["link"] = f'<{exchange.path}?n={count}&last={quote(page[-1], safe="")}>; rel="next"'
        await exchange.json({**first, key: page}, headers)


def _action(method: str, found: re.Match[str]) -> str | None:
    """None for methods that are refused anyway."""
    if found["manifest"] is not None:
        return _MANIFEST_ACTIONS.get(method)
    if found["begin"] is not None:
        return "InitiateLayerUpload"
    if found["upload"] is not None:
        return _UPLOAD_ACTIONS.get(method)
    if found["blob"] is not None:
        return _BLOB_ACTIONS.get(method)
    return "ListImages" if found["tags"] is not None else "BatchGetImage"


def _referrer(image: Image) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
    }
    if image.artifact_type:
        entry["artifactType"] = image.artifact_type
    annotations = dict(manifests.parse(image.manifest, image.media_type).annotations)
    if annotations:
        entry["annotations"] = annotations
    return entry
