"""Candle frames: closed bars only, whole bars only, known by their close."""
