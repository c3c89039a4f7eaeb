"""HTTP in the client's role, bounded in octets and in time, for whoever in here has to ask somebody out there.

:mod:`~scepra.http.request` is one request and its answer, :mod:`~scepra.http.agent` treq's client for one origin,
:mod:`~scepra.http.endpoint` where its connections lead, :mod:`~scepra.http.connection` what bounds them, and
:mod:`~scepra.http.breaker` whether it is worth asking at all.
"""
