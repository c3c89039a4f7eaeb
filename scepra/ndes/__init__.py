"""NDES's administration page: read where NDES serves it, and written for those who know NDES (RA-11).

:mod:`~scepra.ndes.page` is what stands on it, :mod:`~scepra.ndes.client` fetches it, :mod:`~scepra.ndes.broker` draws
one-time passwords from it before anybody asks for one.
"""
