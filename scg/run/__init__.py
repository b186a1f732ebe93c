"""A call: values, division into ranges, noise, sums of what comes back, and what is returned."""
