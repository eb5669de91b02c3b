"""Every option of ours takes effect, or the build says which one does not."""

import re

import pytest

from penglai.guest.image import kernel
from penglai.guest.image.kernel import lost_options


@pytest.mark.parametrize(
    ("wanted", "config", "lost"),
    [
        ("CONFIG_A=y", "CONFIG_A=y", []),
        ("CONFIG_A=y", "CONFIG_A=m", ["CONFIG_A=y"]),
        ("CONFIG_A=y", "# CONFIG_A is not set", ["CONFIG_A=y"]),
        ("CONFIG_A=25", "CONFIG_A=25\nCONFIG_B=y", []),
        ("# CONFIG_A is not set", "", []),
        ("# CONFIG_A is not set", "# CONFIG_A is not set", []),
        ("# CONFIG_A is not set", "CONFIG_A=y", ["# CONFIG_A is not set"]),
        ("# a remark\n\nCONFIG_A=y", "CONFIG_A=y", []),
    ],
)
def test_options_that_are_lost_are_found(wanted: str, config: str, lost: list[str]):
    assert lost_options(wanted, config) == lost


@pytest.mark.parametrize("variant", kernel.VARIANTS)
def test_no_option_stands_twice(variant: str):
    text = "".join(path.read_text() for path in kernel.VARIANTS[variant])
    names = re.findall(r"^(?:# )?(CONFIG_\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
