"""The black box: the RA, the CA behind it and devices before it, over real sockets; and what is true after all.

:mod:`~tests.rig.blackbox.rig` puts it together; a test says what happens and when, and whatever happened, the
invariants of the security document are asserted at its end::

    with Rig(tmp_path, laboratory) as rig:
        device = rig.device("dev1.example")
        with rig.upstream.hold(Event.HANDLED) as held:
            talk = device.begin(device.message())
            held.wait()
            rig.ra.kill()
        rig.ra.start()
        assert device.retry(Retry.NEW_TRANSACTION).status is PKIStatus.SUCCESS
"""
