"""One file for each flow, in the order of the method; and the command line."""
