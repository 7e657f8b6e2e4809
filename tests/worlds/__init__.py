"""Whole small worlds for tests: services with fakes around them."""
