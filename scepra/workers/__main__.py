"""A worker, as its master starts it."""

from scepra.workers.worker import main

main()
