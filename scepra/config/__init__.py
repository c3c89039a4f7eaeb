"""The configuration: a YAML file read once into frozen values, refused with every mistake at its place.

:mod:`~scepra.config.document` reads YAML, :mod:`~scepra.config.model` says what may stand in it,
:mod:`~scepra.config.load` joins both. The security document's design rule 19: typed and closed.
"""
