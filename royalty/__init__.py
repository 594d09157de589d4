"""Credits, values and pays the people whose images trained a generative model."""
