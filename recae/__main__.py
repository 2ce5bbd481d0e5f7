"""The program: ``python -m recae`` is the same as ``recae``."""

import sys


def main() -> None:
    """Run a command; Ctrl-C ends it in one line, from the imports on."""
    try:
        from recae.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
