"""Where enrolments are kept: tables and functions of a connection, on SQLite or PostgreSQL.

A function gets a connection inside one database transaction and returns values; it neither begins nor ends one. No
procedure of a server and no lock that only one product has is needed for being right.
"""
