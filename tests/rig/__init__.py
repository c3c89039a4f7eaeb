"""The rig: what tests drive the RA with."""
