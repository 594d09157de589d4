"""Infrastructure: settings, stores, ledger, servers, processes, tracking and pages; knows no valuation method."""

import logging

# diffusers imports bitsandbytes if it is installed, which then warns about a kernel that is not used here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
