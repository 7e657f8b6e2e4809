"""Rules of templates and plans, for all inputs."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.kernel.document import dump, load
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.cloudformation import begin, documents, graph, properties, rows, schema, template
from portside.cloud.services.cloudformation.intrinsics import Evaluator, NoResources, Surroundings
from portside.cloud.services.cloudformation.plan import Verdict, decide
from portside.cloud.services.cloudformation.records import Applied
from portside.cloud.services.cloudformation.resources import naming, registry

EMPTY = template.parse(json.dumps({"Resources": {"A": {"Type": "AWS::SNS::Topic"}}}))
HERE = Surroundings("000000000000", "us-east-1", "arn:stack/s/u", "s")
NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NAMES, st.sets(NAMES, max_size=4), max_size=8)
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)


def evaluate(expression: Any, **parameters: Any) -> Any:
    return Evaluator(EMPTY, parameters, HERE, NoResources()).evaluate(expression)


@given(GRAPHS)
def test_an_order_puts_every_name_after_all_it_needs(needs: dict[str, set[str]]) -> None:
    known = {name: {other for other in others if other in needs} for name, others in needs.items()}
    found = graph.order(known)
    for position, name in enumerate(found):
        assert known[name] <= set(found[:position])
    assert (len(found) == len(known)) == (graph.cycle(known) == [])


@given(GRAPHS)
def test_a_cycle_is_really_one(needs: dict[str, set[str]]) -> None:
    found = graph.cycle(needs)
    for name in found:
        assert needs[name] & set(found), "each of its names needs another of them"
        assert any(name in needs[other] for other in found), "and is needed by another"


@given(st.lists(TEXT.filter(lambda text: "|" not in text), min_size=1))
def test_split_undoes_join(members: list[str]) -> None:
    joined = {"Fn::Join": ["|", members]}
    assert evaluate({"Fn::Split": ["|", joined]}) == members


@given(st.lists(st.tuples(TEXT.filter(lambda text: "$" not in text), TEXT), max_size=5))
def test_sub_puts_values_where_their_names_were(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{literal}${{V{index}}}" for index, (literal, _) in enumerate(parts))
    values = {f"V{index}": value for index, (_, value) in enumerate(parts)}
    assert evaluate({"Fn::Sub": [text, values]}) == "".join(literal + value for literal, value in parts)


@given(TEXT.filter(lambda text: "}" not in text and not text.strip().startswith("!")))
def test_an_escaped_placeholder_stays_literal(name: str) -> None:
    assert evaluate({"Fn::Sub": "${!" + name + "}"}) == "${" + name.rstrip() + "}"


JSON_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**31), 2**31) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["P", "Q", "R s"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["A", "B", "C"]), JSON_VALUES, min_size=1))
def test_json_is_read_as_it_is(document: dict[str, Any]) -> None:
    assert documents.read(json.dumps(document)) == document


@given(JSON_VALUES)
def test_values_without_functions_evaluate_to_themselves(value: Any) -> None:
    assert evaluate(value) == value


PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "TopicName": st.sampled_from(["a", "b"]),
        "DisplayName": st.sampled_from(["a", "b", 1, True]),
        "FifoTopic": st.sampled_from([True, False, "true"]),
        "Tags": st.lists(st.fixed_dictionaries({"Key": st.just("k"), "Value": st.sampled_from(["v", "w"])}), max_size=1),
    },
)  # fmt: skip


def fitted(given_properties: dict[str, Any]) -> dict[str, Any]:
    found = schema.load("AWS::SNS::Topic")
    assert found is not None
    return properties.fit(found, given_properties)[0]


@given(PROPERTIES, PROPERTIES)
def test_a_decision_lists_what_differs_and_nothing_else(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = fitted(before), fitted(after)
    found = decide(registry.facts("AWS::SNS::Topic"), Applied(properties=old), new, {}, ())
    assert {each.name for each in found.changes} == {key for key in old | new if old.get(key) != new.get(key)}
    assert (found.verdict is Verdict.KEEP) == (old == new)
    replaces = any(old.get(key) != new.get(key) for key in ("TopicName", "FifoTopic"))
    assert (found.verdict is Verdict.REPLACE) == replaces


@given(PROPERTIES)
def test_fitting_twice_changes_nothing(found: dict[str, Any]) -> None:
    once = fitted(found)
    assert fitted(once) == once


SIDES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


@given(SIDES, SIDES, SIDES)
def test_a_doubtful_property_always_differs_from_what_is_wanted_if_it_can(
    before: dict[str, int], attempted: dict[str, int], wanted: dict[str, int]
) -> None:
    found = begin.in_doubt(before, attempted, wanted)
    for name in before | attempted:
        sides = (before.get(name), attempted.get(name))
        assert found.get(name) in sides
        if any(side != wanted.get(name) for side in sides):
            assert found.get(name) != wanted.get(name)


STYLES = st.sampled_from(
    [naming.PLAIN, naming.SHORT, naming.BALANCER, naming.GROUP, naming.BUCKET, naming.FAMILY, naming.POLICY]
)


@given(STYLES, st.from_regex(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", fullmatch=True), st.from_regex(r"[A-Za-z0-9]{1,255}", fullmatch=True), st.integers(0, 1000))  # fmt: skip
def test_made_up_names_keep_to_the_limit_and_their_suffix(
    style: naming.NameStyle, stack: str, logical: str, seed: int
) -> None:
    name = style.make(Ids(seed), stack, logical)
    other = style.make(Ids(seed + 1), stack, logical)
    assert len(name) <= style.limit
    assert name[:-12] == other[:-12] and name[-12:] != other[-12:]


@given(st.builds(Applied, physical_id=TEXT, properties=st.dictionaries(TEXT, JSON_VALUES, max_size=3), dependencies=st.lists(TEXT, max_size=2).map(tuple), tags=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)))  # fmt: skip
def test_records_survive_storage(applied: Applied) -> None:
    assert rows._applied(load(dump(applied))) == applied
