"""How to get from what we hold to what we wish to hold; pure."""
