"""Several processes that serve as one: a supervisor, and workers that it starts and connects (docs/architecture.md)."""
