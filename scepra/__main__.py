"""`python -m scepra` is the same as the command `scepra`."""

from scepra.cli import main

main()
