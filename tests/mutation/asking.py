"""What the mutation tester wants to know of penglai, which its own process must not import (runner.py)."""

import subprocess
import sys


def ask(imports: str, question: str) -> str:
    """What an expression is, as text, in a process of its own."""
    command = f"{imports}; print({question})"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return found.stdout.strip()
