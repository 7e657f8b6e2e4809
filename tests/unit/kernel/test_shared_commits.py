"""kernel/database.py, `commit`: what is ready at the same time shares one commit, and stands or falls by itself."""

import asyncio
import shutil
import sqlite3

import pytest

from portside.cloud.kernel.database import Database


class Counting(Database):
    commits = 0

    def write(self):
        self.commits += 1
        return super().write()


@pytest.fixture
def database(tmp_path):
    made = Counting(tmp_path / "state.db")
    made.migrate("test", ("CREATE TABLE thing (id INTEGER PRIMARY KEY);",))
    made.commits = 0
    yield made
    made.close()


def adding(number, woken=None):
    def work(tx):
        tx.execute("INSERT INTO thing VALUES (?)", (number,))
        if woken is not None:
            tx.after_commit(lambda: woken.append(number))
        return number * 10

    return work


def things(path):
    """What would be there after kill -9."""
    left = path / "left"
    shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(path, left)
    other = sqlite3.connect(left / "state.db")
    found = [row[0] for row in other.execute("SELECT id FROM thing ORDER BY id")]
    other.close()
    return found


async def test_everything_of_a_round_is_one_commit_and_durable_when_it_returns(database, tmp_path):
    assert await asyncio.gather(*(database.commit(adding(n)) for n in range(1, 6))) == [10, 20, 30, 40, 50]
    assert things(tmp_path) == [1, 2, 3, 4, 5]
    assert database.commits == 1


async def test_what_comes_after_a_commit_goes_into_the_next(database, tmp_path):
    await database.commit(adding(1))
    await database.commit(adding(2))
    assert things(tmp_path) == [1, 2]
    assert database.commits == 2


async def test_what_raises_undoes_only_itself_and_the_others_are_told_once(database, tmp_path):
    woken = []
    found = await asyncio.gather(
        database.commit(adding(1, woken)),
        database.commit(adding(1, woken)),
        database.commit(adding(2, woken)),
        return_exceptions=True,
    )
    assert found[0] == 10
    assert isinstance(found[1], sqlite3.IntegrityError)
    assert found[2] == 20
    assert things(tmp_path) == [1, 2]
    assert woken == [1, 2]


async def test_one_alone_that_raises_is_not_tried_again(database):
    tried = []

    def work(tx):
        tried.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.commit(work)
    assert tried == [1]


async def test_a_commit_that_fails_fails_everything_in_it(database, tmp_path, monkeypatch):
    def broken():
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database, "write", broken)
    found = await asyncio.gather(database.commit(adding(1)), database.commit(adding(2)), return_exceptions=True)
    assert [type(each) for each in found] == [sqlite3.OperationalError] * 2
    assert things(tmp_path) == []


async def test_a_cancelled_task_writes_nothing(database, tmp_path):
    task = asyncio.create_task(database.commit(adding(1)))
    other = asyncio.create_task(database.commit(adding(2)))
    await asyncio.sleep(0)  # both have handed over, and the commit is next
    task.cancel()
    assert await other == 20
    assert things(tmp_path) == [2]
    with pytest.raises(asyncio.CancelledError):
        await task
