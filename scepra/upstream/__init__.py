"""One SCEP CA as the RA sees it: what it offers and how far it is believed, and how it is asked (the client's role).

:mod:`~scepra.upstream.client` keeps the view and sends requests; :mod:`~scepra.upstream.view` says what is offered,
:mod:`~scepra.upstream.belief` what is believed of it, :mod:`~scepra.upstream.succession` which CA follows which;
:mod:`~scepra.upstream.exchange` is SCEP's part of :mod:`scepra.http`.
"""
