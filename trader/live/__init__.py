"""The daemon: wake at a close, decide once, carry every order to a certain end."""
