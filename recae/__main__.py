"""``python -m recae`` is the same program as ``recae``."""

from recae.cli import main

if __name__ == "__main__":
    main()
