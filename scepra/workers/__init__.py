"""Several processes: a master that holds the sockets and keeps as many workers alive, each of which is a whole RA."""
