"""One blob of Software Heritage's bucket: fetched, unpacked within bounds, decoded, or why not.

`content/<blob_id>` holds a file's bytes, gzipped. May not write files.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

from harness.errors import RequestError

BUCKET = "softwareheritage"
GOOD = "ok"
TRIES = 5
FIRST_WAIT = 0.2
"""Seconds before the second try; doubles from one to the next."""


@dataclass(frozen=True)
class Fetched:
    """What became of a blob."""

    blob_id: str
    reason: str
    """`ok`, or why it is not there: missing, denied, refused, not gzip, corrupt, truncated,
    too large, empty, unreachable."""
    text: str = ""


class Unusable(Exception):
    """A blob that is there but of no use; the message is the reason."""


def client(connections: int) -> Any:
    """An unsigned S3 client for many threads; `AWS_ENDPOINT_URL` moves it elsewhere.

    Raises RequestError where boto3 is not installed.
    """
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
    except ImportError:
        raise RequestError(
            "python-edu needs boto3: pip install 'smol-harness[s3]' or pip install boto3"
        ) from None
    config = Config(
        signature_version=UNSIGNED,
        max_pool_connections=connections,
        connect_timeout=10,
        read_timeout=60,
        retries={"total_max_attempts": 1},  # ours are counted and wait differently
        s3={"addressing_style": "path"},
    )
    return boto3.client("s3", region_name="us-east-1", config=config)


def fetch(s3: Any, blob_id: str, max_bytes: int) -> Fetched:
    """One blob, with retries of what may pass. Raises RequestError where there is no bucket."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    for number in range(TRIES):
        if number:
            time.sleep(FIRST_WAIT * 2 ** (number - 1))
        try:
            answer = s3.get_object(Bucket=BUCKET, Key=f"content/{blob_id}")
            with answer["Body"] as body:
                # Gzip can grow a little; what is longer than the bound cannot unpack to less.
                packed = body.read(max_bytes + 1024) if _fits(answer, max_bytes) else None
            if packed is None:
                return Fetched(blob_id, "too large")
            # botocore looks at the length only where no amount is asked for.
            if len(packed) < int(answer.get("ContentLength") or 0):
                continue  # the connection broke off
            text = gunzip(packed, max_bytes).decode("utf-8", errors="ignore")
            return Fetched(blob_id, GOOD if text.strip() else "empty", text)
        except Unusable as error:
            return Fetched(blob_id, str(error))
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise RequestError(f"no S3 bucket '{BUCKET}' at {s3.meta.endpoint_url}") from None
            known = {403: "denied", 404: "missing"}.get(status)
            if known or (status < 500 and status not in (408, 429)):
                return Fetched(blob_id, known or "refused")
        except (BotoCoreError, HTTPError, OSError):
            continue
    return Fetched(blob_id, "unreachable")


def _fits(answer: Any, max_bytes: int) -> bool:
    return int(answer.get("ContentLength") or 0) <= max_bytes + 1024


def gunzip(packed: bytes, max_bytes: int) -> bytes:
    """All members of a gzip file, never more than `max_bytes` of them in memory.

    Raises Unusable with the reason.
    """
    if packed[:2] != b"\x1f\x8b":
        raise Unusable("not gzip")
    out = b""
    while packed:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(packed, max_bytes + 1 - len(out))
        except zlib.error:
            raise Unusable("corrupt") from None
        if len(out) > max_bytes:
            raise Unusable("too large")
        if not member.eof:
            raise Unusable("truncated")
        packed = member.unused_data.lstrip(b"\0")  # padding is allowed
    return out
