"""Tells twistd that there is a plugin ``scepra``; twistd imports :mod:`scepra.tap` only when it is chosen."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker("scepra", "scepra.tap", "SCEP Registration Authority and reverse proxy.", "scepra")
