"""One SCEP CA as the RA sees it: what it offers and how far it is believed, and how it is asked (the client's role).

:mod:`~scepra.upstream.client` keeps the view and sends requests; :mod:`~scepra.upstream.view` says what is believed;
:mod:`~scepra.upstream.exchange` is SCEP's part of :mod:`scepra.http`.
"""
