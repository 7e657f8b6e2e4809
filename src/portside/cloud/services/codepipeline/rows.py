"""The SQL of CodePipeline: records out of rows and into them.

Owns every statement; decides nothing. Readers are a database or an open transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Artifact,
    Execution,
    ExecutionStatus,
    Override,
    Phase,
    Pipeline,
    Revision,
    RuleRun,
    RunStatus,
    StageRun,
    Transition,
    Webhook,
)

_LIVE = "('InProgress', 'Stopping')"


class Reader(Protocol):
    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


def _one(reader: Reader, sql: str, params: Sequence[Value]) -> Row | None:
    found = reader.read(sql, params)
    return found[0] if found else None


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# Pipelines and their structures


def pipeline(reader: Reader, region: str, name: str) -> Pipeline | None:
    row = _one(reader, "SELECT * FROM cp_pipeline WHERE region = ? AND name = ?", (region, name))
    return None if row is None else _pipeline(row)


def pipelines(reader: Reader, region: str | None = None) -> list[Pipeline]:
    where, params = ("WHERE region = ?", (region,)) if region is not None else ("", ())
    return [_pipeline(row) for row in reader.read(f"SELECT * FROM cp_pipeline {where} ORDER BY name", params)]


def _pipeline(row: Row) -> Pipeline:
    tags = tuple((key, value) for key, value in json.loads(row["tags"]))
    return Pipeline(
        row["region"], row["name"], row["account"], row["version"], row["created"], row["updated"],
        row["endpoint"], tags,
    )  # fmt: skip


def save_pipeline(tx: Transaction, each: Pipeline) -> None:
    tx.execute(
        "INSERT INTO cp_pipeline VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (region, name) DO UPDATE SET "
        "version = excluded.version, updated = excluded.updated, endpoint = excluded.endpoint, tags = "
        "excluded.tags",
        (
            each.region, each.name, each.account, each.version, each.created, each.updated, each.endpoint,
            _dump(each.tags),
        ),
    )  # fmt: skip


def delete_pipeline(tx: Transaction, region: str, name: str) -> None:
    tx.execute("DELETE FROM cp_pipeline WHERE region = ? AND name = ?", (region, name))


def declaration(reader: Reader, region: str, name: str, version: int) -> tuple[Params, dict[str, str]] | None:
    """The declaration, secrets masked, and the secrets."""
    row = _one(
        reader, "SELECT * FROM cp_structure WHERE region = ? AND name = ? AND version = ?", (region, name, version)
    )
    return None if row is None else (json.loads(row["declaration"]), json.loads(row["secrets"]))


def save_declaration(tx: Transaction, each: Pipeline, declared: Params, secrets: dict[str, str]) -> None:
    tx.execute(
        "INSERT INTO cp_structure VALUES (?, ?, ?, ?, ?)",
        (each.region, each.name, each.version, _dump(declared), _dump(secrets)),
    )


def transitions(reader: Reader, region: str, name: str) -> list[Transition]:
    return [
        Transition(
            row["stage"], row["side"], bool(row["enabled"]), row["reason"], row["changed_by"], row["changed_at"]
        )
        for row in reader.read("SELECT * FROM cp_transition WHERE region = ? AND name = ?", (region, name))
    ]


def save_transition(tx: Transaction, region: str, name: str, each: Transition) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO cp_transition VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (region, name, each.stage, each.side, each.enabled, each.reason, each.changed_by, each.changed_at),
    )


# Executions


def execution(reader: Reader, execution_id: str) -> Execution | None:
    row = _one(reader, "SELECT * FROM cp_execution WHERE id = ?", (execution_id,))
    return None if row is None else _execution(row)


def executions(reader: Reader, region: str, name: str) -> list[Execution]:
    """Newest first."""
    rows = reader.read(
        "SELECT * FROM cp_execution WHERE region = ? AND pipeline = ? ORDER BY seq DESC", (region, name)
    )
    return [_execution(row) for row in rows]


def live_executions(reader: Reader, region: str, name: str) -> list[Execution]:
    """Oldest first."""
    rows = reader.read(
        f"SELECT * FROM cp_execution WHERE status IN {_LIVE} AND region = ? AND pipeline = ? ORDER BY seq",
        (region, name),
    )
    return [_execution(row) for row in rows]


def live_pipelines(reader: Reader) -> list[str]:
    """The keys of the pipelines that have something in flight."""
    rows = reader.read(f"SELECT DISTINCT region, pipeline FROM cp_execution WHERE status IN {_LIVE}")
    return [f"{row['region']}/{row['pipeline']}" for row in rows]


def execution_of_token(reader: Reader, region: str, name: str, token: str) -> Execution | None:
    row = _one(
        reader, "SELECT * FROM cp_execution WHERE region = ? AND pipeline = ? AND token = ?", (region, name, token)
    )
    return None if row is None else _execution(row)


def _execution(row: Row) -> Execution:
    return Execution(
        id=row["id"],
        region=row["region"],
        pipeline=row["pipeline"],
        version=row["version"],
        mode=row["mode"],
        started=row["started"],
        updated=row["updated"],
        trigger_type=row["trigger_type"],
        trigger_detail=row["trigger_detail"],
        status=ExecutionStatus(row["status"]),
        summary=row["summary"],
        variables=json.loads(row["variables"]),
        overrides={name: Override(*value) for name, value in json.loads(row["overrides"]).items()},
        rollback_target=row["rollback_target"],
        stop_reason=row["stop_reason"],
        abandon=bool(row["abandon"]),
        token=row["token"],
        seq=row["seq"],
    )


def save_execution(tx: Transaction, each: Execution) -> None:
    overrides = {name: [value.kind, value.value, value.ref] for name, value in each.overrides.items()}
    tx.execute(
        "INSERT INTO cp_execution VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET status = excluded.status, summary = excluded.summary, "
        "updated = excluded.updated, stop_reason = excluded.stop_reason, abandon = excluded.abandon",
        (
            None, each.id, each.region, each.pipeline, each.version, each.mode, each.status, each.summary,
            each.started, each.updated, each.trigger_type, each.trigger_detail, _dump(dict(each.variables)),
            _dump(overrides), each.rollback_target, each.stop_reason, each.abandon, each.token,
        ),
    )  # fmt: skip


# Stages


def stage_runs(reader: Reader, execution_id: str) -> list[StageRun]:
    rows = reader.read("SELECT * FROM cp_stage WHERE execution = ? ORDER BY seq", (execution_id,))
    return [_stage_run(row) for row in rows]


def stage_runs_of_pipeline(reader: Reader, region: str, name: str) -> list[StageRun]:
    """Of all its executions, in the order of their first arrival."""
    rows = reader.read(
        "SELECT s.* FROM cp_stage s JOIN cp_execution e ON e.id = s.execution "
        "WHERE e.region = ? AND e.pipeline = ? ORDER BY s.seq",
        (region, name),
    )
    return [_stage_run(row) for row in rows]


def next_entry(reader: Reader) -> int:
    return int(reader.read("SELECT COALESCE(MAX(entered), 0) + 1 AS n FROM cp_stage")[0]["n"])


def _stage_run(row: Row) -> StageRun:
    return StageRun(
        execution=row["execution"],
        stage=row["stage"],
        phase=Phase(row["phase"]),
        attempt=row["attempt"],
        entered=row["entered"],
        manual_retries=row["manual_retries"],
        automatic_retries=row["automatic_retries"],
        summary=row["summary"],
        overridden=tuple(json.loads(row["overridden"])),
        seq=row["seq"],
    )


def save_stage_run(tx: Transaction, each: StageRun) -> None:
    tx.execute(
        "INSERT INTO cp_stage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (execution, stage) DO UPDATE SET "
        "phase = excluded.phase, attempt = excluded.attempt, entered = excluded.entered, "
        "manual_retries = excluded.manual_retries, automatic_retries = excluded.automatic_retries, "
        "summary = excluded.summary, overridden = excluded.overridden",
        (
            None, each.execution, each.stage, each.phase, each.attempt, each.entered,
            each.manual_retries, each.automatic_retries, each.summary, _dump(each.overridden),
        ),
    )  # fmt: skip


# Actions


def action_run(reader: Reader, run_id: str) -> ActionRun | None:
    row = _one(reader, "SELECT * FROM cp_action WHERE id = ?", (run_id,))
    return None if row is None else _action_run(row)


def action_runs(reader: Reader, execution_id: str) -> list[ActionRun]:
    """Oldest first."""
    rows = reader.read("SELECT * FROM cp_action WHERE execution = ? ORDER BY seq", (execution_id,))
    return [_action_run(row) for row in rows]


def action_runs_of_pipeline(reader: Reader, region: str, name: str) -> list[ActionRun]:
    """Oldest first."""
    rows = reader.read(
        "SELECT a.* FROM cp_action a JOIN cp_execution e ON e.id = a.execution "
        "WHERE e.region = ? AND e.pipeline = ? ORDER BY a.seq",
        (region, name),
    )
    return [_action_run(row) for row in rows]


def latest_action_runs(reader: Reader, region: str, name: str) -> list[ActionRun]:
    """The newest run of every action of the pipeline."""
    rows = reader.read(
        "SELECT * FROM cp_action WHERE seq IN (SELECT MAX(a.seq) FROM cp_action a JOIN cp_execution e "
        "ON e.id = a.execution WHERE e.region = ? AND e.pipeline = ? GROUP BY a.stage, a.action)",
        (region, name),
    )
    return [_action_run(row) for row in rows]


def running_actions(reader: Reader) -> list[str]:
    return [row["id"] for row in reader.read("SELECT id FROM cp_action WHERE status = 'InProgress'")]


_BODY = (
    "role", "configuration", "variables", "token", "external_id", "external_url", "summary", "code", "message",
    "updated_by", "note",
)  # fmt: skip


def _action_run(row: Row) -> ActionRun:
    body = json.loads(row["body"])
    revision = body["revision"]
    return ActionRun(
        id=row["id"],
        execution=row["execution"],
        stage=row["stage"],
        action=row["action"],
        attempt=row["attempt"],
        started=row["started"],
        updated=row["updated"],
        status=RunStatus(row["status"]),
        inputs=tuple(Artifact(**each) for each in body["inputs"]),
        outputs=tuple(Artifact(**each) for each in body["outputs"]),
        revision=None if revision is None else Revision(**revision),
        seq=row["seq"],
        **{name: body[name] for name in _BODY},
    )


def save_action_run(tx: Transaction, each: ActionRun) -> None:
    body = {name: getattr(each, name) for name in _BODY}
    body["inputs"] = [asdict(artifact) for artifact in each.inputs]
    body["outputs"] = [asdict(artifact) for artifact in each.outputs]
    body["revision"] = None if each.revision is None else asdict(each.revision)
    tx.execute(
        "INSERT INTO cp_action VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "attempt = excluded.attempt, status = excluded.status, updated = excluded.updated, body = excluded.body",
        (
            None, each.id, each.execution, each.stage, each.action, each.attempt, each.status,
            each.started, each.updated, _dump(body),
        ),
    )  # fmt: skip


# Rules


def rule_run(reader: Reader, run_id: str) -> RuleRun | None:
    row = _one(reader, "SELECT * FROM cp_rule WHERE id = ?", (run_id,))
    return None if row is None else _rule_run(row)


def rule_runs(reader: Reader, execution_id: str) -> list[RuleRun]:
    rows = reader.read("SELECT * FROM cp_rule WHERE execution = ? ORDER BY seq", (execution_id,))
    return [_rule_run(row) for row in rows]


def rule_runs_of_pipeline(reader: Reader, region: str, name: str) -> list[RuleRun]:
    rows = reader.read(
        "SELECT r.* FROM cp_rule r JOIN cp_execution e ON e.id = r.execution "
        "WHERE e.region = ? AND e.pipeline = ? ORDER BY r.seq",
        (region, name),
    )
    return [_rule_run(row) for row in rows]


def running_rules(reader: Reader) -> list[str]:
    return [row["id"] for row in reader.read("SELECT id FROM cp_rule WHERE status = 'InProgress'")]


def _rule_run(row: Row) -> RuleRun:
    return RuleRun(
        row["id"], row["execution"], row["stage"], row["moment"], row["rule"], row["attempt"], row["started"],
        row["updated"], RunStatus(row["status"]), row["summary"], row["code"], json.loads(row["configuration"]),
        row["seq"],
    )  # fmt: skip


def save_rule_run(tx: Transaction, each: RuleRun) -> None:
    tx.execute(
        "INSERT INTO cp_rule VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "status = excluded.status, updated = excluded.updated, summary = excluded.summary, code = excluded.code, "
        "configuration = excluded.configuration",
        (
            None, each.id, each.execution, each.stage, each.moment, each.rule, each.attempt, each.status,
            each.started, each.updated, each.summary, each.code, _dump(each.configuration),
        ),
    )  # fmt: skip


# Artifacts, variables, cursors


def artifacts(reader: Reader, execution_id: str) -> dict[str, Artifact]:
    rows = reader.read("SELECT * FROM cp_artifact WHERE execution = ?", (execution_id,))
    return {row["name"]: Artifact(row["name"], row["bucket"], row["key"], row["revision"]) for row in rows}


def save_artifact(tx: Transaction, execution_id: str, each: Artifact) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO cp_artifact VALUES (?, ?, ?, ?, ?)",
        (execution_id, each.name, each.bucket, each.key, each.revision),
    )


def variables(reader: Reader, execution_id: str) -> dict[str, dict[str, str]]:
    rows = reader.read("SELECT * FROM cp_variable WHERE execution = ?", (execution_id,))
    return {row["namespace"]: json.loads(row["content"]) for row in rows}


def save_variables(tx: Transaction, execution_id: str, namespace: str, content: dict[str, str]) -> None:
    tx.execute("INSERT OR REPLACE INTO cp_variable VALUES (?, ?, ?)", (execution_id, namespace, _dump(content)))


def inherit(tx: Transaction, execution_id: str, target: str) -> None:
    """Give an execution the artifacts and variables of another one."""
    tx.execute(
        "INSERT INTO cp_artifact SELECT ?, name, bucket, key, revision FROM cp_artifact WHERE execution = ?",
        (execution_id, target),
    )
    tx.execute(
        "INSERT INTO cp_variable SELECT ?, namespace, content FROM cp_variable WHERE execution = ?",
        (execution_id, target),
    )


def cursor(reader: Reader, region: str, name: str, source: str) -> str | None:
    row = _one(
        reader,
        "SELECT revision FROM cp_cursor WHERE region = ? AND pipeline = ? AND source = ?",
        (region, name, source),
    )
    return None if row is None else str(row["revision"])


def save_cursor(tx: Transaction, region: str, name: str, source: str, revision: str) -> None:
    tx.execute("INSERT OR REPLACE INTO cp_cursor VALUES (?, ?, ?, ?)", (region, name, source, revision))


# Webhooks


def webhooks(reader: Reader, region: str) -> list[Webhook]:
    rows = reader.read("SELECT * FROM cp_webhook WHERE region = ? ORDER BY name", (region,))
    return [
        Webhook(
            row["region"],
            row["name"],
            json.loads(row["definition"]),
            row["secret"],
            tuple((key, value) for key, value in json.loads(row["tags"])),
        )
        for row in rows
    ]


def save_webhook(tx: Transaction, each: Webhook) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO cp_webhook VALUES (?, ?, ?, ?, ?)",
        (each.region, each.name, _dump(each.definition), each.secret, _dump(each.tags)),
    )


def delete_webhook(tx: Transaction, region: str, name: str) -> None:
    tx.execute("DELETE FROM cp_webhook WHERE region = ? AND name = ?", (region, name))
