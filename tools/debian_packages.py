"""Installs the Debian packages that a group of tests needs, or says which to install.

Run by the Makefile with the system's Python, before there is anything else; so it uses the standard
library alone. Does nothing where they are there already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

GROUPS = {
    "camera": (
        "gir1.2-gst-rtsp-server-1.0",
        "gstreamer1.0-plugins-base",
        "gstreamer1.0-plugins-good",
        "gstreamer1.0-plugins-ugly",
        "python3-gi",
    ),
    "browser": ("chromium",),
    "kafka": ("openjdk-17-jre-headless", "maven", "openssl"),
    "prometheus": ("prometheus",),
}
PROGRAMS = {"kafka": ("java", "mvn", "openssl"), "prometheus": ("prometheus", "promtool")}
SERVICES = {"prometheus": "prometheus.service"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def is_there(group: str) -> bool:
    """Whether the tests of this group can run."""
    if group == "browser":
        return bool(os.environ.get("HEADRACE_CHROMIUM")) or any(map(shutil.which, BROWSERS))
    if group in PROGRAMS:
        return all(map(shutil.which, PROGRAMS[group]))
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    python = "/usr/bin/python3"
    if shutil.which(python) is None or shutil.which("dpkg-query") is None:
        return False
    if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode:
        return False
    query = ["dpkg-query", "--show", "--showformat=${Status}\n", *GROUPS[group]]
    status = subprocess.run(query, capture_output=True, text=True, check=False)
    return status.stdout.count("install ok installed") == len(GROUPS[group])


def main(group: str) -> int:
    """Installs a group; 2 if somebody with more rights must do it."""
    if is_there(group):
        return 0
    packages = " ".join(GROUPS[group])
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"the {group} tests need: sudo apt-get install {packages}", file=sys.stderr)
        return 2
    print(f"== installing Debian packages for the {group} tests: {packages}", flush=True)
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quietly, check=True)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *GROUPS[group]]
    subprocess.run(install, stdout=subprocess.DEVNULL, env=quietly, check=True)
    _stop_service(group)
    return 0


def _stop_service(group: str) -> None:
    """Ends what Debian started with the package: the tests run the program, not the service."""
    if group in SERVICES and shutil.which("systemctl") is not None:
        stop = ["systemctl", "disable", "--now", SERVICES[group]]
        subprocess.run(stop, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
