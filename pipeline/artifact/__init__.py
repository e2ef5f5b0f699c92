"""The contract between trainer and worker: manifest, registry, verification."""
