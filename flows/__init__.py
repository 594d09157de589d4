"""One file a flow, reading as the method reads; and the command line."""
