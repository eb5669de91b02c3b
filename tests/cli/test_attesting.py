"""penglai measure, attest, policy, verify and verifier, as a user types them."""

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import jwt
import pytest
from tests.cli.test_commands import one_line, penglai
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

from penglai import KnownEnclave, Policy, Report, measure
from penglai.attestation import sm2
from penglai.attestation.report import debug_hash, enclave_statement, monitor_statement

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
            ((__file__, "--nonce", "1"), "say what is believed: give --measurement, or --policy"),
            ((__file__, "--nonce", "1", "--policy", "p", "--allow-debug"), "give no other option beside"),
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


class TestPolicy:
    def test_what_it_writes_believes_this_machine(self, tmp_path: Path):
        for name, form in (("report.bin", "report"), ("report.eat", "eat")):
            done = penglai("attest", "loop", "--nonce", "42", "--output", tmp_path / name, "--format", form)
            assert done.returncode == 0, done.stderr
        done = penglai("policy", "hello-world", "loop", "--output", tmp_path / "policy.toml")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        for name in ("report.bin", "report.eat"):
            trusted = ("--policy", tmp_path / "policy.toml", "--nonce", "42")
            done = penglai("verify", tmp_path / name, *trusted)
            assert done.stdout == f"valid: enclave {measure('loop').hex()} (loop) answered nonce 0x2a\n"
            assert (done.returncode, done.stderr) == (0, "")
            answer = json.loads(penglai("verify", tmp_path / name, *trusted, "--json").stdout)
            assert answer["enclave"]["name"] == "loop"

    def test_a_policy_for_another_device_is_made_of_its_report(self, report: Path):
        done = penglai("policy", "loop", "--device", report, "--device", report, "--kind", "server")
        policy = Policy.parse(done.stdout)
        assert policy.device_keys == (Report(report.read_bytes()).device_key,)
        assert policy.monitor_hashes == (MONITOR_HASH,)
        assert policy.enclaves == (KnownEnclave(measure("loop", kind="server"), "loop", "server"),)

    def test_a_scheme_that_measures_no_kind(self, report: Path):
        done = penglai("policy", "loop", "--device", report, "--scheme", "sm3", "--allow-debug")
        policy = Policy.parse(done.stdout)
        assert policy.allow_debug
        assert policy.enclaves == (KnownEnclave(measure("loop", scheme="sm3"), "loop", scheme="sm3"),)

    def test_reports_that_say_nothing_of_a_device(self, report: Path, tmp_path: Path):
        bad = tmp_path / "bad.bin"
        bad.write_bytes(bytes(328))
        assert penglai("policy", "loop", "--device", bad).stderr.endswith("not signed by the device\n")
        bad.write_bytes(debug_hash(bytes(32)) + report.read_bytes()[32:])
        assert "of a machine that can be debugged" in penglai("policy", "loop", "--device", bad).stderr
        done = penglai("policy", "loop", "--device", __file__)
        assert (done.returncode, one_line(done.stderr)) == (1, True)

    def test_a_policy_that_is_wrong_is_one_line(self, report: Path, tmp_path: Path):
        file = tmp_path / "policy.toml"
        file.write_text("device_key = 'any'")
        done = penglai("verify", report, "--policy", file, "--nonce", "42")
        assert (done.returncode, done.stdout, one_line(done.stderr)) == (1, "", True)
        assert "device_keys is missing" in done.stderr

    def test_any_device_is_said(self, report: Path, tmp_path: Path):
        file = tmp_path / "policy.toml"
        file.write_text(str(Policy([KnownEnclave(MEASUREMENT)], None, None)))
        done = penglai("verify", report, "--policy", file, "--nonce", "42")
        assert done.returncode == 0
        assert "any device was accepted; name the one that you trust with device_keys in" in done.stderr


class TestVerifier:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_answers_until_a_signal(self, report: Path, tmp_path: Path, number: int, status: int):
        file = tmp_path / "policy.toml"
        file.write_text(str(Policy([KnownEnclave(MEASUREMENT)], None, None)))
        running = subprocess.Popen(
            [PENGLAI, "verifier", "--policy", file, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PENGLAI_STATE": str(tmp_path / "state")},
        )
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        request = urllib.request.Request(f"{address}/verify?nonce=42", data=report.read_bytes())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            claims = jwt.decode(answer.read(), options={"verify_signature": False})
        assert claims["submods"]["enclave"]["ear_status"] == "warning"
        assert claims["ear_verifier_id"]["build"].startswith("pypenglai 0.")
        listen = address.removeprefix("http://")
        other = penglai("verifier", "--policy", file, "--listen", listen)
        assert (other.returncode, one_line(other.stderr)) == (1, True)
        assert f"cannot listen at {listen}: Address already in use" in other.stderr
        running.send_signal(number)
        _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == status
        assert "127.0.0.1: warning" in said
        assert "Traceback" not in said

    def test_a_policy_that_is_not_there_is_one_line(self, tmp_path: Path):
        done = penglai("verifier", "--policy", tmp_path / "none", "--listen", "127.0.0.1:0")
        assert (done.returncode, one_line(done.stderr)) == (1, True)


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
