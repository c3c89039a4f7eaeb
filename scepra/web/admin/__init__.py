"""The administration: a listener of its own, another level of trust than the SCEP port (DR-18).

Every route stands in one registry with the roles that may use it; nothing is served to whoever shows no token.
"""
