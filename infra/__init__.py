"""The edge: settings, stores, servers and tracking. Knows no valuation method."""

import logging

# diffusers imports it wherever it is installed, and it warns of a kernel that nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
