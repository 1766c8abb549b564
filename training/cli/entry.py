"""Where the program `orthosharp-train` begins: Ctrl-C is quiet before anything is imported that takes time."""

from __future__ import annotations

from sr_model.interrupts import leave_at_once


def run() -> None:
    """Run the command line."""
    leave_at_once()
    from training.cli.main import main

    main()


if __name__ == "__main__":
    run()
