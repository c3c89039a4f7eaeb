"""The HTTP front of the RA: a bounded listener, routes, and the resource that turns operations into answers."""
