"""The SCEP protocol (RFC 8894 and the drafts before it) as values and bytes.

No I/O, no clock, no Twisted; neither client nor server by nature: every message is parsed and built in both roles.
"""
