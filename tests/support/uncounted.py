"""An environment for programs that run a copy of the project: what they execute is not what is covered."""

import os

COUNTING = ("COVERAGE", "COV_CORE")


def uncounted() -> dict[str, str]:
    """This process's environment, without what makes its children count the lines that they execute."""
    return {name: value for name, value in os.environ.items() if not name.startswith(COUNTING)}
