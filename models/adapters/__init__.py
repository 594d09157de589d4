"""Item valuations as evaluators of other packages, which import them from here. The product itself does not."""
