"""The surrogate: what estimators see of sites, what they rewrite, and the object that is read."""
