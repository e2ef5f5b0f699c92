"""A module of a user's that fails while it is imported."""

net = 1 / 0
