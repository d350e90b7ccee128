"""Where stages run: on this machine."""
