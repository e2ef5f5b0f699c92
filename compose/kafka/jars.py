"""What a broker needs before it can start: Java, and Kafka's jars by Maven."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATE = HERE.parents[1] / "build" / "kafka"
LIBS = STATE / "libs"

_POM = HERE / "pom.xml"
_NEEDS = "sudo apt-get install openjdk-17-jre-headless maven"
_OLDEST_JAVA = 17  # Kafka 4's broker is compiled for it
_FETCH_WITHIN_S = 900.0  # 45 MB, and Maven's own plugins the first time


class BrokerError(Exception):
    """The broker can't be had; the message says what to do."""


def find_java() -> str:
    """The path of a Java that runs Kafka.

    Raises:
        BrokerError: there is none, or it is too old.
    """
    java = shutil.which("java")
    if java is None:
        raise BrokerError(f"Kafka needs Java {_OLDEST_JAVA}, and there is no java: {_NEEDS}")
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)[^"]*"', done.stderr)
    if found is None or int(found[1]) < _OLDEST_JAVA:
        version = found[0] if found else end_of(done.stderr)
        raise BrokerError(
            f"Kafka needs Java {_OLDEST_JAVA} or newer, {java} is {version}: {_NEEDS}"
        )
    return java


def fetch() -> None:
    """Copies Kafka's jars to build/kafka/libs; does nothing where those of this pom are there.

    Raises:
        BrokerError: Maven is missing or fails.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs in one clone
        stamp = LIBS / _POM.name
        if stamp.exists() and stamp.read_bytes() == _POM.read_bytes():
            return
        new = STATE / "libs.new"
        shutil.rmtree(new, ignore_errors=True)
        _copy_jars(new)
        shutil.copy(_POM, new)
        shutil.rmtree(LIBS, ignore_errors=True)
        new.rename(LIBS)


def _copy_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(f"Maven fetches Kafka, and there is no mvn: {_NEEDS}")
    find_java()
    say("fetching Kafka with Maven: 45 MB, once")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    command = [maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(_POM), *goal]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_FETCH_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"Maven isn't done after {_FETCH_WITHIN_S:.0f} s; try again") from error
    if done.returncode or not any(folder.glob("kafka_*.jar")):
        raise BrokerError(f"Maven can't fetch Kafka: {_cause(done.stdout + done.stderr)}")


def _cause(text: str) -> str:
    """What Maven says before its advice on how to find out more, which is always the same."""
    return end_of(text.partition("[Help 1]")[0].replace("[ERROR] ", ""))


def end_of(text: str) -> str:
    """The last lines of what a program said, in one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-6:]) or "nothing"


def say(progress: str) -> None:
    """Tells the user what takes time."""
    print(f"== {progress}", file=sys.stderr, flush=True)
