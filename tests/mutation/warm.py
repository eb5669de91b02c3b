"""A process that has read all tests; a mutant is a fork of it, which imports nothing and collects nothing."""

import gc
import os
import resource
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.mutation.exchange import differing, exchange, kept_by_file
from tests.mutation.inside import Failing, First
from tests.mutation.runner import LONGER, OPTIONS, PASSED, SURVIVED, Answer, Tree, Verdict, said, verdict_of

FAILED = 1
"""Exit status of pytest."""


@dataclass(frozen=True)
class Question:
    """Which test notices that a file has another text?

    tests: in this order, each with the seconds that it takes otherwise.  limit: seconds of the processor, for
    all of them.
    """

    file: Path
    before: str
    after: str
    tests: dict[str, float]
    limit: float


class Warm:
    """name: of its directory.  options: of pytest, files of tests among them.

    Raises SystemExit if they cannot be read.
    """

    def __init__(self, tree: Tree, name: str, options: Sequence[str]) -> None:
        directory = tree.where / name
        self._connection, inside = Pipe()
        self._child = os.fork()
        if not self._child:
            try:
                self._connection.close()
                tree.settle(directory, None)
                tree.enter()
                plugins = [Failing(), _Answering(tree, inside)]
                pytest.main([*OPTIONS, "--capture=no", *options], plugins=plugins)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        inside.close()
        try:
            self._tests: set[str] = self._connection.recv()
        except EOFError:
            raise SystemExit(f"the tests cannot be read: {said(directory)}") from None

    def knows(self, tests: Sequence[str]) -> list[str]:
        """Those of these tests that it has."""
        return [test for test in tests if test in self._tests]

    def ask(self, question: Question) -> Verdict | None:
        """Try a mutant; None if it shows only in a process that imports the file anew."""
        self._connection.send(question)
        verdict: Verdict | None = self._connection.recv()
        return verdict


class _Answering:
    """Instead of running tests, answers questions."""

    def __init__(self, tree: Tree, connection: Connection) -> None:
        self._tree = tree
        self._connection = connection

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self._kept = kept_by_file()
        gc.freeze()  # a fork that looked through it all would copy it all
        self._connection.send(set(items))
        while True:
            try:
                question: Question = self._connection.recv()
            except EOFError:
                return True
            self._connection.send(self._answer(session, items, question))

    def _answer(
        self, session: pytest.Session, items: dict[str, pytest.Item], question: Question
    ) -> Verdict | None:
        def body() -> Answer:
            self._connection.close()
            codes = differing(question.file, question.before, question.after)
            if codes is None or not exchange(self._kept[str(question.file)], codes):
                return ELSEWHERE, None
            return _first_failure(session, [(items[test], took) for test, took in question.tests.items()])

        status, what = self._tree.run(body, question.limit)
        if status == ELSEWHERE:
            return None
        return Verdict(SURVIVED, settled=frozenset(what)) if status == PASSED else verdict_of(status, what)


ELSEWHERE = -3
"""Instead of an exit status of pytest: code could not be exchanged."""

LONGEST = 3.0
"""A test may use LONGER times what it takes otherwise, and so many seconds more."""


def _first_failure(session: pytest.Session, items: Sequence[tuple[pytest.Item, float]]) -> Answer:
    """The first test that fails; or those that pass on every engine, and with any number of examples."""
    first = First()
    session.config.pluginmanager.register(first)
    following = [item for item, _ in items[1:]]
    for (item, seconds), after in zip(items, [*following, None], strict=True):
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (min(most, int(used + LONGER * seconds + LONGEST) + 1), most))
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if first.name:
            return FAILED, first.name
    return PASSED, [item.nodeid for item, _ in items if _is_settled(item, first)]


def _is_settled(item: pytest.Item, first: First) -> bool:
    return item.nodeid in first.passed and not getattr(item.obj, "is_hypothesis_test", False)  # type: ignore[attr-defined]
