"""What runs the network, and how it is swapped."""
