"""From the text of a template to plain dictionaries: YAML with its short forms, and JSON.

Pure. Owns the tags (`!Ref`, `!Sub`, ...) and the texts for what is not well-formed; what the document means is
the business of `template.py`. `read` is for templates, `fragment` for what AWS::Include brings in.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any

from portside.cloud.protocol.errors import AwsError

# Tags whose long form has no `Fn::` before the name.
_BARE = frozenset({"Ref", "Condition"})
_FUNCTIONS = (
    "And", "Base64", "Cidr", "Contains", "EachMemberEquals", "EachMemberIn", "Equals", "FindInMap", "ForEach",
    "GetAtt", "GetAZs", "GetStackOutput", "If", "ImportValue", "Join", "Length", "Not", "Or", "RefAll", "Select",
    "Split", "Sub", "ToJsonString", "Transform", "ValueOf", "ValueOfAll",
)  # fmt: skip
UNSUPPORTED = "Template format error: unsupported structure."
# Deeper documents than this are nobody's templates, and would exhaust the stack.
DEEPEST = 100
_ALIAS = re.compile(r"(?:^|[\s,\[{])\*[A-Za-z0-9]", re.MULTILINE)


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def read(text: str) -> dict[str, Any]:
    """The document as JSON would hold it: strings as keys, functions in their long form, no nulls."""
    document = _read_json(text) if text.lstrip().startswith("{") else _read_yaml(text)
    if not isinstance(document, dict):
        raise invalid(UNSUPPORTED)
    _check_values(document, "", DEEPEST)
    _refuse_surrogates(document, text)
    return document


def fragment(text: str) -> Any:
    """What AWS::Include brings in: JSON, or YAML without short forms; ValueError if it is neither."""
    import yaml

    try:
        try:
            found = json.loads(text)
        except ValueError:
            found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
        _check_values(found, "", DEEPEST)
        _refuse_surrogates(found, text)
    except (AwsError, yaml.YAMLError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None
    return found


def is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise invalid(UNSUPPORTED) from None
    except json.JSONDecodeError as error:
        # AWS's reader stops behind the character that is in the way.
        column = error.colno + (error.pos < len(text))
        raise invalid(
            f"Template format error: JSON not well-formed. (line {error.lineno}, column {column})"
        ) from None
    except ValueError:
        raise invalid(UNSUPPORTED) from None


def _read_yaml(text: str) -> Any:
    import yaml

    loader = _loader()
    try:
        if _ALIAS.search(text) and any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(text, loader)):
            raise invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
        return yaml.load(text, loader)  # noqa: S506 (the loader below is a safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise invalid(f"Template format error: YAML not well-formed.{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError):
        # A value that contradicts its own tag (`!!int x`) is no YAMLError.
        raise invalid("Template format error: YAML not well-formed.") from None
    except RecursionError:
        raise invalid(UNSUPPORTED) from None


@cache
def _loader() -> Any:
    """A safe loader, in C where PyYAML has it, that knows the short forms and leaves dates as text."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class TemplateLoader(base):  # type: ignore[misc]
        pass

    TemplateLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in base.yaml_implicit_resolvers.items()
    }

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        loader.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # The spelling in the text counts: `on:` and `0123:` are names here, not a boolean and a number.
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            found[key_node.value] = loader.construct_object(value_node, deep=True)
        return found

    def function(name: str) -> Any:
        key = name if name in _BARE else f"Fn::{name}"

        def construct(loader: Any, node: Any) -> dict[str, Any]:
            value: Any
            if isinstance(node, yaml.ScalarNode):
                value = _plain(loader, node)
                if name == "GetAtt" and isinstance(value, str):
                    value = value.split(".", 1)
            elif isinstance(node, yaml.SequenceNode):
                value = loader.construct_sequence(node, deep=True)
            else:
                value = mapping(loader, node)
            return {key: value}

        return construct

    def unknown(loader: Any, suffix: str, node: Any) -> Any:
        raise yaml.constructor.ConstructorError(None, None, f"unknown tag !{suffix}", node.start_mark)

    TemplateLoader.add_constructor("tag:yaml.org,2002:map", mapping)
    for name in (*_BARE, *_FUNCTIONS):
        TemplateLoader.add_constructor(f"!{name}", function(name))
    TemplateLoader.add_multi_constructor("!", unknown)
    return TemplateLoader


def _plain(loader: Any, node: Any) -> Any:
    """A scalar under a tag has lost its implicit type: `!GetAZs ""` is text, and so is everything else."""
    return loader.construct_scalar(node)


def _check_values(value: Any, path: str, depth: int) -> None:
    """Only what JSON has, but nulls."""
    if value is None:
        raise invalid(f"[{path}] 'null' values are not allowed in templates")
    if depth == 0:
        raise invalid(UNSUPPORTED)
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise invalid(UNSUPPORTED)
            _check_values(member, f"{path}/{key}", depth - 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _check_values(member, f"{path}/{index}", depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise invalid(UNSUPPORTED)
    elif not isinstance(value, (str, int)):
        raise invalid(UNSUPPORTED)


def _refuse_surrogates(document: Any, text: str) -> None:
    """Halves of characters can be written as escapes, and not be stored."""
    if "\\u" in text or "\\U" in text:
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise invalid(UNSUPPORTED) from None


def missing_change_set(name: str) -> AwsError:
    return AwsError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)
