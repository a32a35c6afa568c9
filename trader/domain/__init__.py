"""Nouns of the field and their arithmetic; standard library only."""
