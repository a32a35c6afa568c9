"""What we wish to hold."""
