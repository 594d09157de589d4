"""Training images with their contributors: the set itself, and the sources it is read from."""
