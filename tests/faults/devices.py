"""Devices that fail, simulated in the engine of a worker: what a CPU can't be made to do.

Each name is a plant, see ``tests/faults/planted.py``.
"""

from __future__ import annotations

NO_ROOM = "device_plants.no_room"
ILLEGAL_ACCESS = "device_plants.illegal_access"
NOT_A_NUMBER = "device_plants.not_a_number"
WRONG_SHAPE = "device_plants.wrong_shape"
SLOW = "device_plants.slow"
SLOWER = "device_plants.slower"
SLOWEST = "device_plants.slowest"
WEDGED_POLL = "device_plants.wedged_poll"
WEDGED_COMMIT = "device_plants.wedged_commit"
HELD_INTERPRETER = "device_plants.held_interpreter"
HUNGRY = "device_plants.hungry"
DEADLY = "device_plants.deadly"
COUNTED_NETWORKS = "device_plants.counted_networks"
