"""The real stack, hurt on purpose while it works, and compared with a plain calculation from its input."""
