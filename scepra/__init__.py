"""scepra: a Registration Authority in front of a SCEP certification authority."""

__version__ = "0.1.0"
