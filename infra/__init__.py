"""The edge: settings, stores, servers and tracking. Knows no valuation method."""
