"""What `headrace bench` measures: the worker, a plain loop and the machine's ceiling."""
