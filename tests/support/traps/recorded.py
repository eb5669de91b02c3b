"""What QEMU did in each case, as it is kept in the repository; made anew by

python -m tests.support.traps.recorded
"""

import json
from collections import defaultdict
from pathlib import Path

from tests.support.traps.cases import all_cases
from tests.support.traps.outcome import outcome
from tests.support.traps.run import on_qemu

TABLE = Path(__file__).parents[2] / "machine" / "data" / "traps-qemu.json"

Outcomes = dict[str, str]
"""The outcome of each case, by name."""


def observe() -> Outcomes:
    """What the QEMU of this system does."""
    cases = all_cases()
    results = zip(cases, on_qemu(cases), strict=True)
    return {case.name: outcome(case, result) for case, result in results}


def load() -> Outcomes:
    """What was kept."""
    found = {}
    for group in json.loads(TABLE.read_text()):
        for situation in group["situations"]:
            for what, forms in group["outcomes"].items():
                found |= {f"{situation}: {form}": what for form in forms}
    return found


def save(outcomes: Outcomes) -> None:
    """Keep them: situations in which the same happens to the same forms stand together."""
    by_situation: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in all_cases():
        by_situation[case.situation][outcomes[case.name]].append(case.form)
    groups: dict[str, list[str]] = defaultdict(list)
    for situation, found in by_situation.items():
        groups[json.dumps(found)].append(situation)
    lines = (
        json.dumps({"situations": situations, "outcomes": json.loads(key)})
        for key, situations in groups.items()
    )
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    save(observe())
