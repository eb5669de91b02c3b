"""penglai measure, attest and verify, as a user types them."""

import json
from pathlib import Path

import pytest
from tests.cli.test_commands import one_line, penglai

from penglai import Report, measure
from penglai.attestation import sm2
from penglai.attestation.report import enclave_statement, monitor_statement

MEASUREMENT, MONITOR_HASH = bytes(range(32)), bytes(32)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good report with nonce 42."""
    device, monitor = sm2.generate(), sm2.generate()
    part = monitor_statement(device, sm2.public_key(monitor), MONITOR_HASH)
    file = tmp_path_factory.mktemp("report") / "report.bin"
    file.write_bytes(part + enclave_statement(monitor, MEASUREMENT, 42) + sm2.public_key(device))
    return file


class TestMeasure:
    def test_it_prints_the_measurement_alone(self):
        done = penglai("measure", "loop")
        assert (done.returncode, done.stdout, done.stderr) == (0, measure("loop").hex() + "\n", "")

    def test_json_and_options(self):
        done = penglai("measure", "loop", "--kind", "server", "--stack-size", "4K", "--json")
        assert json.loads(done.stdout) == {
            "measurement": measure("loop", kind="server", stack_size=4096).hex(),
            "scheme": "penglai-2",
            "kind": "server",
            "stack_size": 4096,
        }

    def test_the_originals_scheme_and_shadow_templates(self):
        done = penglai("measure", "hello-world", "--kind", "shadow", "--scheme", "tvm-legacy")
        assert done.stdout.strip() == measure("hello-world", kind="shadow", scheme="tvm-legacy").hex()


class TestVerify:
    def test_a_good_report(self, report: Path):
        done = penglai("verify", report, "--measurement", MEASUREMENT.hex(), "--nonce", "42")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"valid: enclave {MEASUREMENT.hex()} answered nonce 0x2a\n"
        assert "any device was accepted" in done.stderr
        assert one_line(done.stderr)

    def test_a_good_report_of_a_device_that_is_trusted(self, report: Path):
        key = Report(report.read_bytes()).device_key.hex()
        trusted = ("--device-key", key, "--monitor-hash", MONITOR_HASH.hex())
        done = penglai("verify", report, "--measurement", MEASUREMENT.hex(), "--nonce", "0x2a", *trusted)
        assert (done.returncode, done.stderr) == (0, "")

    def test_json(self, report: Path):
        arguments = ("--measurement", MEASUREMENT.hex(), "--json", "--nonce")
        good = penglai("verify", report, *arguments, "42")
        assert good.returncode == 0
        assert json.loads(good.stdout)["valid"] is True
        assert json.loads(good.stdout)["nonce"] == "0x2a"
        bad = penglai("verify", report, *arguments, "43")
        assert bad.returncode == 1
        assert json.loads(bad.stdout)["valid"] is False
        assert json.loads(bad.stdout)["reason"].startswith("wrong nonce")

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            (("--nonce", "43"), "invalid: wrong nonce: the report has 0x2a, not 0x2b"),
            (("--measurement", "00" * 32), "invalid: wrong measurement"),
            (("--scheme", "tvm-legacy"), "invalid: wrong measurement"),
            (("--device-key", "11" * 64), "invalid: wrong device"),
            (("--monitor-hash", "11" * 32), "invalid: wrong monitor"),
        ],
        ids=str,
    )
    def test_a_report_of_something_else(self, report: Path, extra: tuple[str, str], message: str):
        done = penglai("verify", report, "--measurement", MEASUREMENT.hex(), "--nonce", "42", *extra)
        assert done.returncode == 1
        assert done.stdout.startswith(message)
        assert one_line(done.stdout)
        assert done.stderr == ""

    def test_a_file_that_is_no_report(self):
        done = penglai("verify", __file__, "--measurement", "00" * 32, "--nonce", "1")
        assert done.returncode == 1
        assert done.stdout.startswith("invalid: a report has 328 bytes, and this has ")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nothing.bin", "--measurement", "00" * 32, "--nonce", "1"), "does not exist"),
            ((__file__, "--measurement", "00" * 32), "Missing option"),
            ((__file__, "--nonce", "1"), "Missing option"),
            ((__file__, "--measurement", "0011", "--nonce", "1"), "it has 64 hex digits, and this has 4"),
            ((__file__, "--measurement", "loop", "--nonce", "1"), "is not hexadecimal"),
            ((__file__, "--measurement", "00" * 32, "--nonce", "one"), "is no number"),
            ((__file__, "--measurement", "00" * 32, "--nonce", "-1"), "does not fit"),
            ((__file__, "--measurement", "00" * 32, "--nonce", "1", "--scheme", "md5"), "is not one of"),
        ],
        ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
    )
    def test_bad_usage_has_status_2(self, arguments: tuple[str, ...], message: str):
        done = penglai("verify", *arguments)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.replace("│", "").split())
        assert "Traceback" not in done.stderr


class TestAttest:
    def test_what_it_writes_verifies(self, tmp_path: Path):
        file = tmp_path / "report.bin"
        done = penglai("attest", "loop", "--nonce", "0x2a", "--output", file)
        assert done.returncode == 0, done.stderr
        shown = dict(line.split(maxsplit=1)[:2] for line in done.stdout.splitlines())
        assert shown["measurement"] == measure("loop").hex()
        assert shown["nonce"] == "0x2a"
        report = Report(file.read_bytes())
        report.verify(measurement=measure("loop"), nonce=42)
        assert report.device_key.hex() in done.stdout
        trusted = ("--device-key", report.device_key.hex())
        done = penglai("verify", file, "--measurement", measure("loop").hex(), "--nonce", "42", *trusted)
        assert done.returncode == 0, done.stdout

    def test_json_and_a_random_nonce(self):
        first, second = (json.loads(penglai("attest", "loop", "--json").stdout) for _ in range(2))
        assert first["nonce"] != second["nonce"]
        report = Report(bytes.fromhex(first["report"]))
        report.verify(measurement=first["measurement"], nonce=int(first["nonce"], 0))

    def test_a_place_that_cannot_be_written(self, tmp_path: Path):
        done = penglai("attest", "loop", "--output", tmp_path / "no" / "report.bin")
        assert done.returncode == 1
        assert "cannot write" in done.stderr
        assert one_line(done.stderr)
