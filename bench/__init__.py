"""Measurements: what one enrolment costs an RA, and what of that is cryptography (``python -m bench``)."""
