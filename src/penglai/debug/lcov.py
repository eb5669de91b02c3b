"""Coverage in the form of lcov's tracefiles, which genhtml and other viewers open (geninfo(1), FILES).

Of each source file: FN and FNDA (functions), BRDA (branches: line, block, number, how often, or - if the line
was never executed), DA (lines), and how many of each there are and were executed.
"""

from collections.abc import Sequence
from typing import NamedTuple

NEVER = "-"


class Line(NamedTuple):
    """A line of a source file."""

    file: str
    number: int


class Tracefile:
    """Numbers by file; what is added twice adds up."""

    def __init__(self) -> None:
        self._lines: dict[Line, int] = {}
        self._branches: dict[tuple[Line, int, int], int | None] = {}
        self._functions: dict[tuple[str, str], tuple[int, int]] = {}

    def add_line(self, line: Line, times: int) -> None:
        """It was executed so often."""
        self._lines[line] = self._lines.get(line, 0) + times

    def add_branches(self, line: Line, ways: Sequence[tuple[int, int]]) -> None:
        """Its conditional branches in order: how often each was taken, and how often not."""
        for block, both in enumerate(ways):
            for number, times in enumerate(both):
                self._add_branch(line, block, number, times if any(both) else None)

    def _add_branch(self, line: Line, block: int, number: int, times: int | None) -> None:
        known = self._branches.get((line, block, number))
        both = known if times is None else times if known is None else known + times
        self._branches[line, block, number] = both

    def add_function(self, line: Line, name: str, times: int) -> None:
        """It begins at this line, and was entered so often."""
        _, known = self._functions.get((line.file, name), (0, 0))
        self._functions[line.file, name] = (line.number, known + times)

    def read(self, text: str) -> None:
        """Add what a file says.  Raises ValueError if it is none."""
        file, starts = "", dict[str, int]()
        for number, row in enumerate(text.splitlines(), 1):
            kind, _, rest = row.partition(":")
            cells = rest.split(",")
            try:
                if kind == "SF":
                    file, starts = rest, {}
                elif kind == "DA":
                    self.add_line(Line(file, int(cells[0])), int(cells[1]))
                elif kind == "BRDA":
                    times = None if cells[3] == NEVER else int(cells[3])
                    self._add_branch(Line(file, int(cells[0])), int(cells[1]), int(cells[2]), times)
                elif kind == "FN":
                    starts[",".join(cells[1:])] = int(cells[0])
                elif kind == "FNDA":
                    name = ",".join(cells[1:])
                    self.add_function(Line(file, starts[name]), name, int(cells[0]))
                elif row not in ("end_of_record", "") and kind not in SKIPPED:
                    raise ValueError(row)
            except (ValueError, IndexError, KeyError):
                raise ValueError(f"line {number} is none of a tracefile of lcov's: {row!r}") from None

    def text(self) -> str:
        """The file."""
        files = sorted({line.file for line in self._lines})
        return "".join(
            "\n".join(["TN:", f"SF:{file}", *self._record(file), "end_of_record\n"]) for file in files
        )

    def summary(self) -> str:
        """What was executed of what there is, in words."""
        lines = list(self._lines.values())
        if not lines:
            return "no lines, since nothing was executed that was built with -g"
        ways = [times or 0 for times in self._branches.values()]
        hit = f"{_hit(lines)} of {len(lines)} lines"
        return f"{hit}, {_hit(ways)} of {len(ways)} branches" if ways else hit

    def _record(self, file: str) -> list[str]:
        functions = sorted(
            (start, name, times) for (where, name), (start, times) in self._functions.items() if where == file
        )
        branches = sorted((key, times) for key, times in self._branches.items() if key[0].file == file)
        lines = sorted((line.number, times) for line, times in self._lines.items() if line.file == file)
        return [
            *(f"FN:{start},{name}" for start, name, _ in functions),
            *(f"FNDA:{times},{name}" for _, name, times in functions),
            f"FNF:{len(functions)}",
            f"FNH:{_hit([times for _, _, times in functions])}",
            *(
                f"BRDA:{line.number},{block},{number},{NEVER if times is None else times}"
                for (line, block, number), times in branches
            ),
            f"BRF:{len(branches)}",
            f"BRH:{_hit([times or 0 for _, times in branches])}",
            *(f"DA:{number},{times}" for number, times in lines),
            f"LF:{len(lines)}",
            f"LH:{_hit([times for _, times in lines])}",
        ]


SKIPPED = {"TN", "FNF", "FNH", "BRF", "BRH", "LF", "LH", "VER"}
"""What is counted anew, or says nothing of lines."""


def _hit(times: Sequence[int]) -> int:
    return sum(1 for each in times if each)
