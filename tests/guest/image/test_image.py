"""The real image: what Debian's sources became, looked into without booting it."""

import io
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.guest.image.test_cpio import Entry, read

from penglai.abi.errors import ImageError
from penglai.guest.image import kernel
from penglai.guest.image.build import build_image, make_image
from penglai.guest.image.current import CURRENT, Image, current_image, root
from penglai.guest.image.files import TAKEN, default_files
from penglai.guest.image.kernel import lost_options
from penglai.guest.image.work import quiet
from penglai.toolchain.places import CACHE_VARIABLE

pytestmark = pytest.mark.linux

PROGRAMS = (
    *("sh", "insmod", "rmmod", "lsmod", "mknod", "mount", "umount", "stty", "poweroff", "reboot", "devmem"),
    *("vi", "less", "ps", "top", "kill", "free", "dmesg", "grep", "sed", "awk", "find", "xargs", "seq"),
    *("sleep", "timeout", "time", "md5sum", "sha256sum", "tar", "gzip", "wget", "ip", "ifconfig", "ping"),
    *("udhcpc", "nc", "hexdump", "cmp", "diff", "nproc", "setsid", "cttyhack", "getty"),
)


@pytest.fixture(scope="module")
def image() -> Image:
    return make_image()


@pytest.fixture(scope="module")
def entries(image: Image) -> dict[str, Entry]:
    return read(image.initrd.read_bytes())


def elf(content: bytes) -> ELFFile:
    return ELFFile(io.BytesIO(content))


def test_the_kernel_is_an_image_that_is_not_compressed(image: Image):
    """Source: Linux, Documentation/riscv/boot-image-header.rst."""
    header = image.kernel.read_bytes()[:64]
    assert header[48:56] == b"RISCV\0\0\0"
    assert header[56:60] == b"RSC\x05"
    assert int.from_bytes(header[8:16], "little") == 0x200000, "where it is loaded: text_offset"


def test_every_option_of_ours_is_in_the_kernel(image: Image):
    config = (image.kernel.parent / "tree" / ".config").read_text()
    assert lost_options("".join(path.read_text() for path in kernel.VARIANTS[""]), config) == []


def test_what_is_kept_of_a_kernel_is_small(image: Image):
    size = sum(path.lstat().st_size for path in image.kernel.parent.rglob("*"))
    assert size < 100 << 20


def test_the_programs_that_one_expects_are_there(entries: dict[str, Entry]):
    busybox = elf(entries["bin/busybox"].content)
    assert (busybox.get_machine_arch(), busybox.elfclass) == ("RISC-V", 64)
    assert busybox.get_section_by_name(".interp") is None, "static"
    links = {Path(name).name: entry.content for name, entry in entries.items() if stat.S_ISLNK(entry.mode)}
    assert [name for name in PROGRAMS if links.get(name) != b"/bin/busybox"] == []


def test_files_are_in_the_root_directory_and_can_be_executed(image: Image, entries: dict[str, Entry]):
    assert set(image.files) == set(default_files())
    for name in image.files:
        assert entries[name].mode == stat.S_IFREG | 0o755, name
        assert entries[name].content, name
    assert elf(entries["init"].content).get_machine_arch() == "RISC-V"
    assert entries["init"].mode == stat.S_IFREG | 0o755
    assert (entries["dev/console"].mode, entries["dev/console"].device) == (stat.S_IFCHR | 0o600, (5, 1))


def test_the_systems_own_places_are_known(image: Image, entries: dict[str, Entry]):
    """What SDK_FILES may not replace is what the system has; /share is made by init."""
    own = {name.partition("/")[0] for name in entries} - set(image.files)
    assert own | {"share"} == TAKEN


def test_the_module_is_one_of_this_kernel(entries: dict[str, Entry], image: Image):
    info = elf(entries["penglai.ko"].content).get_section_by_name(".modinfo").data()
    release = (image.kernel.parent / "tree/include/config/kernel.release").read_text().strip()
    found = re.search(rb"vermagic=(\S+)", info)
    assert found is not None
    assert found[1].decode() == release


def test_what_is_there_is_not_made_again(image: Image):
    before = {path: path.lstat().st_mtime_ns for path in root().rglob("*")}
    told: list[str] = []
    assert make_image(tell=lambda what, _: told.append(what)) == image
    assert told == []
    assert {path: path.lstat().st_mtime_ns for path in root().rglob("*")} == before


def test_penglai_ko_and_install_sh_are_in_named_or_not(image: Image, tmp_path: Path):
    (tmp_path / "mine").write_text("my own")
    made = make_image([f"yours={tmp_path / 'mine'}"])
    assert set(made.files) == {"penglai.ko", "install.sh", "yours"}
    assert read(made.initrd.read_bytes())["yours"].content == b"my own"
    assert made.kernel == image.kernel


@pytest.mark.usefixtures("image")
class TestCurrent:
    """A cache of its own, whose kernel and sources are the other one's: nothing is built."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = root()
        mine = tmp_path / "linux"
        mine.mkdir()
        for path in made.iterdir():
            if path.name.startswith(("kernel-", "busybox-", "module-", "versions")):
                (mine / path.name).symlink_to(path)
        (tmp_path / "zig").symlink_to(made.parent / "zig")
        for path in made.parent.iterdir():
            if path.name not in ("linux", "zig"):
                (tmp_path / path.name).symlink_to(path)
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))

    def test_the_image_that_was_built_last_is_the_current_one(self):
        assert current_image() is None
        built = build_image(["loop"])
        assert current_image() == built
        make_image(["prime"])
        assert current_image() == built, "one that is only made is not"
        built.initrd.unlink()
        assert current_image() is None, "one that is gone is none"

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kernel": 1}'])
    def test_a_record_that_is_not_understood_is_none(self, text: str):
        (root() / CURRENT).write_text(text)
        assert current_image() is None

    @pytest.mark.parametrize(
        ("build", "reason"),
        [
            (lambda: build_image(["no-such-file"]), "no-such-file is not there"),
            (lambda: build_image(variant="fast"), "no variant 'fast' of the kernel"),
        ],
    )
    def test_what_cannot_be_built_leaves_the_current_one(self, build: Callable[[], Image], reason: str):
        built = build_image(["loop"], tell=quiet)
        with pytest.raises(ImageError, match=reason):
            build()
        assert current_image() == built
