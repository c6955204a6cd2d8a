"""`python -m uadbench`: the command `bench` where its script is not on the path."""

from __future__ import annotations

from .benchmarks.commands.app import main

if __name__ == "__main__":
    main()
