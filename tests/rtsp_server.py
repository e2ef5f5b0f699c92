"""A real RTSP camera for tests: GStreamer's server, run by the system's Python.

    /usr/bin/python3 tests/rtsp_server.py PORT WIDTH HEIGHT FPS

Serves ``rtsp://127.0.0.1:PORT/test`` (0: a free port) with a moving test picture as H.264, and
prints the port when it is ready. It is a script of its own, as GObject's bindings come with the
system and not from the package index.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  the versions must be named first


def main() -> None:
    port, width, height, fps = (int(word) for word in sys.argv[1:])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball"
        f" ! video/x-raw,width={width},height={height},framerate={fps}/1"
        f" ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps}"
        " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    factory.set_shared(True)
    server.get_mount_points().add_factory("/test", factory)
    if not server.attach(None):
        raise SystemExit(f"port {port} can't be had")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
