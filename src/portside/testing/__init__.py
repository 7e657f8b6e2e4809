"""Fakes for the cloud's seams, and virtual time: for portside's own tests and for those of its users."""
