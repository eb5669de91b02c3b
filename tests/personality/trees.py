"""The files that the tests of Debian's programs find."""

from pathlib import Path

CONTENT = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "data/numbers": "".join(f"{n}\n" for n in range(1, 101)),
    "data/words": "pear\napple\nfig\napple\n",
    "data/script": """i=0
while [ $i -lt 3 ]; do i=$((i + 1)); echo "$i" >> /tmp/out; done
read a < /tmp/out; echo "got $a"
""",
}


def make_tree(directory: Path) -> Path:
    """Fill a directory with them."""
    for name, text in CONTENT.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "tmp").mkdir()
    (directory / "data/link").symlink_to("words")
    return directory
