"""The history of the journal's schema: one file a revision, never changed once released.

A change of `trader/journal/schema.py` comes with a new file here whose `down_revision` is the old `HEAD`.
"""
