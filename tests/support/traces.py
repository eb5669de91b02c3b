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


class TraceFile:
    """A whole trace.  tracks: by names of group and track, in order of time."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
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
        for event in self.events:
            if event["ph"] != "M":
                track = (groups[event["pid"]], names[event["pid"], event["tid"]])
                found[track].append(self._slice(event))
        self.tracks = {track: sorted(each, key=lambda s: (s.start, -s.end)) for track, each in found.items()}
        for track, slices in self.tracks.items():
            self._check_nesting(track, slices)

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
        start, length = int(event["ts"] * 1000), int(event.get("dur", 0) * 1000)
        assert start >= 0
        assert length >= 0
        return Slice(event["name"], start, start + length, event["args"])

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
