"""The protocol of the file server, as clients of Penglai-TVM's speak it, and what is ours of it."""

import random

import pytest
from tests.support.fileserver import (
    HELLO,
    O_APPEND,
    O_CREAT,
    O_EXCL,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    REGION,
    Files,
    Server,
)

pytestmark = pytest.mark.services

ENOENT, EBADF, EEXIST, EINVAL, EMFILE, ENAMETOOLONG, ENOTEMPTY = -2, -9, -17, -22, -24, -36, -39


class TestProtocol:
    def test_a_file_is_written_and_read(self, files: Files):
        descriptor = files.open("/a.txt", O_RDWR | O_CREAT, exactly=False)
        assert descriptor >= 3
        assert files.write(descriptor, b"hello") == 5
        assert files.seek(descriptor, 1) == 1
        assert files.read(descriptor, 100) == b"ello"
        assert files.read(descriptor, 100) == b""
        assert files.close(descriptor) == 0
        assert files.size("/a.txt") == 5
        assert files.content("/a.txt") == b"hello"

    def test_the_region_comes_back_where_it_was(self, files: Files):
        answer = files.puppet.call(HELLO)
        assert answer.came_back
        assert answer.data.startswith(b"penglai files 1\0")

    def test_one_that_is_missing(self, files: Files):
        assert files.open("/none", exactly=False) < 0
        assert files.size("/none") == 0
        assert files.unlink("/none") == ENOENT

    def test_flags_of_the_originals_open(self, files: Files):
        """It knows neither EXCL nor TRUNC, and its protected storage counts on that."""
        files.put("/a", b"12345")
        descriptor = files.open("/a", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, exactly=False)
        assert descriptor >= 3
        assert files.size("/a") == 5
        files.close(descriptor)
        descriptor = files.open("/a", O_WRONLY | O_APPEND, exactly=False)
        assert files.seek(descriptor, 0, 1) == 5, "the offset starts at the end"
        assert files.write(descriptor, b"6") == 1
        assert files.content("/a") == b"123456"

    def test_flags_that_count(self, files: Files):
        files.put("/a", b"12345")
        assert files.open("/a", O_WRONLY | O_CREAT | O_EXCL) == EEXIST
        files.close(files.open("/a", O_WRONLY | O_TRUNC))
        assert files.content("/a") == b""

    def test_truncating(self, files: Files):
        files.put("/a", b"12345")
        descriptor = files.open("/a", O_RDWR)
        assert files.resize(descriptor, 3) == 0
        assert files.content("/a") == b"123"
        assert files.value(7, descriptor.to_bytes(4, "little")) == 0
        assert files.content("/a") == b""

    def test_directories(self, files: Files):
        assert files.mkdir("/d") == 0
        assert files.mkdir("/d") == EEXIST
        files.put("/d/x", b"x")
        assert files.unlink("/d") == ENOTEMPTY
        assert files.rename("/d/x", "/y") == 0
        assert files.unlink("/d") == 0
        assert files.tree() == {"/y": b"x"}

    def test_paths_have_one_form(self, files: Files):
        files.put("/a", b"a")
        assert files.content("a") == files.content("//./b/..//a/") == b"a"
        assert files.value(0, b"x" * REGION) == ENAMETOOLONG
        assert files.open("") == ENOENT

    def test_what_is_beyond_4096_bytes_has_a_larger_region(self, files: Files):
        content = random.Random(1).randbytes(50000)
        files.put("/large", content)
        assert files.content("/large") == content

    def test_a_descriptor_is_its_openers(self, files: Files, server: Server):
        files.put("/a", b"secret")
        descriptor = files.open("/a")
        other = Files(server.machine)
        assert other.read(descriptor, 10) == other.close(descriptor) == EBADF
        assert files.read(descriptor, 10) == b"secret"

    def test_a_hundred_files_are_open_and_not_one_more(self, files: Files, server: Server):
        opened = [files.open(f"/f{n}", O_RDWR | O_CREAT) for n in range(100)]
        assert sorted(opened) == list(range(3, 103))
        assert files.open("/more", O_RDWR | O_CREAT) == EMFILE
        assert Files(server.machine).open("/more", O_RDWR | O_CREAT) >= 3, "others have a share of their own"

    def test_what_destroyed_enclaves_had_open_is_taken_from_them(self, files: Files, server: Server):
        mine = files.open("/mine", O_RDWR | O_CREAT)
        for number in (90, 30, 30, 30):
            other = Files(server.machine)
            assert all(other.open("/a", O_RDWR | O_CREAT) >= 3 for _ in range(number))
            other.puppet.destroy()
        assert files.write(mine, b"a share that is small is safe") > 0

    def test_the_file_of_a_descriptor_is_removed(self, files: Files):
        files.put("/a", b"a")
        descriptor = files.open("/a")
        files.unlink("/a")
        files.put("/b", b"b")
        assert files.read(descriptor, 1) == EBADF
        assert files.close(descriptor) == 0

    def test_the_file_of_a_descriptor_has_another_name(self, files: Files):
        files.mkdir("/d")
        files.put("/d/a", b"a")
        descriptor, other = files.open("/d/a", O_RDWR), files.open("/d/b", O_RDWR | O_CREAT)
        assert files.rename("/d", "/e") == 0
        assert files.read(descriptor, 1) == b"a"
        assert files.rename("/e/a", "/c") == 0
        assert files.write(descriptor, b"bc") == 2
        assert files.write(other, b"b") == 1
        assert files.tree() == {"/c": b"abc", "/e": None, "/e/b": b"b"}

    @pytest.mark.parametrize("size", [10, 20000])
    def test_one_file_by_several_descriptors(self, files: Files, size: int):
        """Each sees what the others have done, and none writes over it."""
        files.put("/a", bytes(size))
        one, two, three = (files.open("/a", O_RDWR) for _ in range(3))
        assert files.seek(one, size - 2) == size - 2
        assert files.write(one, b"1234") == 4
        assert files.read(two, size + 10) == bytes(size - 2) + b"1234"
        assert files.write(two, b"56") == 2
        assert files.write(three, b"0") == 1
        assert files.content("/a") == b"0" + bytes(size - 3) + b"123456"
        files.put("/b", b"b" * size)
        assert files.resize(three, 1) == 0
        assert files.read(one, 10) == b""
        files.close(files.open("/a", O_WRONLY | O_TRUNC))
        files.put("/c", b"c" * size)
        assert files.seek(two, 0) == 0
        assert files.read(two, size) == b""

    def test_truncating_counts_at_once(self, files: Files, server: Server):
        files.put("/a", b"12345")
        assert files.open("/a", O_WRONLY | O_TRUNC) >= 3
        server.restart()
        assert files.content("/a") == b""

    @pytest.mark.parametrize("operation", [*range(12), *range(30, 42), 1 << 32, (1 << 64) - 1])
    def test_requests_of_noise(self, files: Files, operation: int):
        """Whatever it is, an answer comes, and the next request is served."""
        noise = random.Random(operation)
        for size in (0, 4, REGION):
            answer = files.puppet.call(operation, noise.randbytes(size))
            assert answer.came_back
        files.put("/after", b"all is well")
        assert files.content("/after") == b"all is well"

    def test_a_request_without_a_region(self, files: Files):
        assert files.puppet.call(0, size=0).value == EINVAL
