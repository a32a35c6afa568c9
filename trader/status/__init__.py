"""What a running daemon shows of itself: one page, the same as JSON, and whether it is well."""
