"""Images on the developer's side: building, pushing, and base images where there is no internet.

`context.py` decides what is sent to a build, `builder.py` speaks to the engine, `debian.py` makes a base image of
Debian packages, `provision.py` gets an engine where there is none.
"""
