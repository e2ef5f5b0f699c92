"""A process that loads and runs a candidate before the worker touches it.

A TorchScript file is a program that torch runs, and torch is a large parser of what it is given. So
a version that isn't active yet is first run on its golden inputs where it can do nothing but
compute and fail: in a process that can open no file and no connection, start nothing, and has so
much memory and time (docs/decisions/0018-a-probe-before-a-swap.md).
"""
