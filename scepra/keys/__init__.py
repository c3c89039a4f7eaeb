"""The RA's keys and certificates, read from files; what is wrong with them is said once, naming the file."""
