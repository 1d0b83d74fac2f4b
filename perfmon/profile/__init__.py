"""Which lines of a running Python program keep memory: two captures by memray, and what grew between them.

memray is loaded where it is used, and never by the daemon: that starts `perfmon profile` as a process of its own.
"""
