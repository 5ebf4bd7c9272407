"""``python -m wat_cli``."""

from wat_cli.cli import main

if __name__ == "__main__":
    main()
