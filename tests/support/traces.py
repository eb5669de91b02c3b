"""Reading traces: what the trace event format demands, and what is on which track."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Slice:
    """start, end: ns.  end is start for a moment."""

    name: str
    start: int
    end: int
    args: dict[str, Any]


@dataclass(frozen=True)
class Arrow:
    """From what is on a track, by names of group and track, at a moment, ns, to what is on another then."""

    tail: tuple[str, str]
    head: tuple[str, str]
    at: int


class TraceFile:
    """A whole trace.  tracks: by names of group and track, in order of time.  arrows: in no order.

    counters: what each showed, one after the other, by names of group and counter."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
        self.counters: dict[tuple[str, str], list[int]] = defaultdict(list)
        groups: dict[int, str] = {}
        names: dict[tuple[int, int], str] = {}
        for event in self.events:
            if event["ph"] == "M":
                self._check_metadata(event)
                if event["name"] == "process_name":
                    assert groups.setdefault(event["pid"], event["args"]["name"]) == event["args"]["name"]
                elif event["name"] == "thread_name":
                    names[event["pid"], event["tid"]] = event["args"]["name"]
        assert len(set(groups.values())) == len(groups)
        assert len({tid for _, tid in names}) == len(names)
        found: dict[tuple[str, str], list[Slice]] = {
            (groups[pid], name): [] for (pid, _), name in names.items()
        }
        ends: list[tuple[tuple[str, str], dict[str, Any]]] = []
        for event in self.events:
            if event["ph"] == "M":
                continue
            if event["ph"] == "C":
                self._check_counter(event)
                self.counters[groups[event["pid"]], event["name"]].append(event["args"][event["name"]])
                continue
            track = (groups[event["pid"]], names[event["pid"], event["tid"]])
            if event["ph"] in "sf":
                ends.append((track, event))
            else:
                found[track].append(self._slice(event))
        self.tracks = {track: sorted(each, key=lambda s: (s.start, -s.end)) for track, each in found.items()}
        for track, slices in self.tracks.items():
            self._check_nesting(track, slices)
        self._check_fractions()
        self.arrows = self._pair(ends)

    @staticmethod
    def _check_counter(event: dict[str, Any]) -> None:
        assert set(event) == {"ph", "name", "pid", "tid", "ts", "args"}
        assert isinstance(event["args"][event["name"]], int)

    @staticmethod
    def _check_metadata(event: dict[str, Any]) -> None:
        assert set(event) == {"ph", "name", "pid", "tid", "args"}
        wanted = {
            "process_name": ("name", str),
            "thread_name": ("name", str),
            "process_sort_index": ("sort_index", int),
            "thread_sort_index": ("sort_index", int),
        }
        key, kind = wanted[event["name"]]
        assert isinstance(event["args"][key], kind)

    @staticmethod
    def _slice(event: dict[str, Any]) -> Slice:
        common = {"ph", "name", "cat", "pid", "tid", "ts", "args"}
        assert set(event) - common == ({"dur"} if event["ph"] == "X" else {"s"})
        assert event["ph"] == "X" or (event["ph"] == "i" and event["s"] == "t")
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["args"], dict)
        start, length = int(event["ts"] * 1000), round(event.get("dur", 0) * 1000)
        assert start >= 0
        assert length >= 0
        return Slice(event["name"], start, start + length, event["args"])

    def _pair(self, ends: list[tuple[tuple[str, str], dict[str, Any]]]) -> list[Arrow]:
        """Arrows of their ends, which viewers pair by category, name and id, and bind to what is there."""
        pairs: dict[tuple[str, str, int], dict[str, Any]] = defaultdict(dict)
        for track, event in ends:
            more = {"bp"} if event["ph"] == "f" else set()
            assert set(event) == {"ph", "name", "cat", "pid", "tid", "ts", "id", "args"} | more
            assert event.get("bp", "e") == "e"
            at = int(event["ts"] * 1000)
            assert any(each.start < at < each.end for each in self.tracks[track]), event
            pairs[event["cat"], event["name"], event["id"]] |= {event["ph"]: track, "at": at}
        return [Arrow(pair["s"], pair["f"], pair["at"]) for pair in pairs.values()]

    def _check_fractions(self) -> None:
        """Slices that follow each other do not overlap even where a viewer adds and compares fractions.

        One that does believes that the second is inside the first: speedscope never ends it, Perfetto drops
        the second.
        """
        tracks = defaultdict(list)
        for event in self.events:
            if event["ph"] == "X":
                tracks[event["pid"], event["tid"]].append((event["ts"], -event["dur"]))
        for slices in tracks.values():
            under_way: list[float] = []
            for start, length in sorted(slices):
                while under_way and under_way[-1] <= start:
                    under_way.pop()
                assert not under_way or start - length <= under_way[-1], (start, -length)
                under_way.append(start - length)

    @staticmethod
    def _check_nesting(track: tuple[str, str], slices: list[Slice]) -> None:
        """Slices of a track lie beside or inside each other: viewers drop the others."""
        under_way: list[Slice] = []
        for each in slices:
            while under_way and under_way[-1].end <= each.start:
                under_way.pop()
            assert not under_way or each.end <= under_way[-1].end, (track, under_way[-1], each)
            if each.end > each.start:
                under_way.append(each)

    def states(self, enclave: str) -> list[str]:
        """The states of an enclave, and its end, as they followed each other."""
        return [each.name for each in self.track(f"enclave {enclave}", "state")]

    def track(self, group: str, name: str) -> list[Slice]:
        """What is on a track; nothing if there is no such track."""
        return self.tracks.get((group, name), [])

    def on_harts(self, enclave: str) -> list[Slice]:
        """When an enclave was on a hart."""
        return [
            each
            for (group, _), slices in self.tracks.items()
            if group == "harts"
            for each in slices
            if each.name == enclave
        ]

    def host_calls(self) -> dict[str, list[Slice]]:
        """Calls of the host, by name."""
        found = defaultdict(list)
        for (group, _), slices in self.tracks.items():
            if group == "host":
                for each in slices:
                    found[each.name].append(each)
        return found
