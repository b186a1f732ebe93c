"""Facts about graphs that can explain themselves: influence, smoothness, support, independence."""
