"""Tell people: what is news, a box on disk until it is told, and a process of its own that tells it."""
