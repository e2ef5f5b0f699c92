"""A trainer that goes on: it watches a model that runs, and trains it anew as the world changes."""
