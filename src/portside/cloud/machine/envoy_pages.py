"""What Envoy answers by itself, in the words and with the headers of an Application Load Balancer.

Pure. Also the two ways of writing a header down.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

SERVER = "awselb/2.0"


def set_header(key: str, value: str) -> Json:
    return add_header(key, value.replace("%", "%%"))


def add_header(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": key, "value": value}, "append_action": how}


def page(status: int, title: str) -> str:
    return (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )


def error_page(flags: list[str], status: int, title: str) -> Json:
    return {
        "filter": {"response_flag_filter": {"flags": flags}},
        "status_code": status,
        "headers_to_add": [set_header("server", SERVER)],
        "body_format_override": {
            "text_format_source": {"inline_string": page(status, title)},
            "content_type": "text/html",
        },
    }


def idle_page() -> Json:
    """A stream without traffic: 504 when the target is to blame, 408 when the client is; Envoy knows which."""
    return {
        "filter": {"response_flag_filter": {"flags": ["SI"]}},
        "headers_to_add": [set_header("server", SERVER)],
        "body_format_override": {
            "text_format_source": {"inline_string": page(504, "Gateway Time-out")},
            "content_type": "text/html",
        },
    }


def refusal() -> Json:
    """The route for requests that come without TLS to a port where it is spoken."""
    body = page(400, "Bad Request").replace(
        "</h1></center>", "</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>"
    )
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 400, "body": {"inline_string": body}},
        "response_headers_to_add": [
            set_header("server", SERVER),
            set_header("content-type", "text/html"),
            set_header("connection", "close"),
        ],
    }
