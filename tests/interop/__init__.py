"""The RA between SCEP clients and CAs that others wrote: each pair enrols over loopback, in a network of its own."""
