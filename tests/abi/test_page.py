"""docs/abi.md has what penglai.abi has."""

import re
from collections import Counter
from pathlib import Path

from penglai.abi.ecall import EnclaveCall, Ocall

PAGE = Path(__file__).parents[2] / "docs/abi.md"


def rows(head: str, column: str) -> Counter[int]:
    """How often each number stands in the first column of the table, in section 3, that begins so."""
    section = PAGE.read_text().partition(f"\n## {head}")[2].partition("\n## ")[0]
    table = section.partition(f"| {column} | | arguments and result |\n")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    return Counter(int(number) for cell in cells for number in cell.split(","))


def test_each_call_of_an_enclave_has_one_row():
    assert rows("3. Enclave to monitor: ecall", "function") == Counter(map(int, EnclaveCall))


def test_each_ocall_has_one_row():
    assert rows("3. Enclave to monitor: ecall", "ocall") == Counter(map(int, Ocall))
