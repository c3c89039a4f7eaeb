"""The suite is itself tested: each security check is removed once, and a test must turn red."""
