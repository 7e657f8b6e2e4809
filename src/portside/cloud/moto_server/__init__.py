"""moto in a process of its own: the default answer to what is not at the heart of the cloud.

`journal.py` makes its state durable, `app.py` answers requests, `__main__.py` is the process. A process of its
own keeps 200 MiB and seconds of loading out of the gateway, and makes moto exchangeable for any other AWS
endpoint. See docs/decisions/0002-moto-in-a-process.md.
"""
