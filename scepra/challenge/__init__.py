"""Challenges: who may enrol at all. Each provider stands in a module of its own, behind
:mod:`~scepra.challenge.protocol`."""
