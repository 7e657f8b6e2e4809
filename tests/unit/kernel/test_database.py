"""kernel/database.py: what is committed stays, what is not never was."""

import shutil
import sqlite3

import pytest

from portside.cloud.kernel.database import Database

STEPS = ("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT); CREATE INDEX thing_name ON thing (name);",)


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "state.db")
    made.migrate("test", STEPS)
    yield made
    made.close()


def test_a_committed_row_survives_reopening(database, tmp_path):
    with database.write() as tx:
        tx.execute("INSERT INTO thing VALUES (1, 'a')")
    database.close()
    again = Database(tmp_path / "state.db")
    assert [row["name"] for row in again.read("SELECT name FROM thing")] == ["a"]
    again.close()


def test_a_failed_block_leaves_nothing_and_wakes_nobody(database):
    woken = []
    with pytest.raises(ValueError, match="no"), database.write() as tx:
        tx.execute("INSERT INTO thing VALUES (1, 'a')")
        tx.after_commit(lambda: woken.append(1))
        raise ValueError("no")
    assert database.read("SELECT * FROM thing") == []
    assert woken == []


def test_wake_ups_come_after_the_commit(database, tmp_path):
    seen = []

    def look():
        shutil.copytree(tmp_path, tmp_path / "left")  # as after kill -9
        other = sqlite3.connect(tmp_path / "left" / "state.db")
        seen.append(other.execute("SELECT count(*) FROM thing").fetchone()[0])
        other.close()

    with database.write() as tx:
        tx.execute("INSERT INTO thing VALUES (1, 'a')")
        tx.after_commit(look)
    assert seen == [1]


def test_a_transaction_inside_another_is_a_fault_and_the_outer_one_is_undone(database):
    with pytest.raises(RuntimeError, match="already open"), database.write() as tx:
        tx.execute("INSERT INTO thing VALUES (1, 'a')")
        with database.write():
            pass
    assert database.one("SELECT * FROM thing") is None


def test_migrations_run_once_and_only_the_new_ones(database):
    database.migrate("test", (*STEPS, "ALTER TABLE thing ADD COLUMN size INTEGER;"))
    database.migrate("test", (*STEPS, "ALTER TABLE thing ADD COLUMN size INTEGER;"))
    with database.write() as tx:
        assert tx.execute("INSERT INTO thing VALUES (1, 'a', 2)") == 1


def test_a_failing_migration_leaves_the_file_as_it_was(database):
    with pytest.raises(sqlite3.OperationalError):
        database.migrate("test", (*STEPS, "CREATE TABLE other (id INTEGER); CREATE TABLE thing (id INTEGER);"))
    assert database.one("SELECT name FROM sqlite_master WHERE name = 'other'") is None
