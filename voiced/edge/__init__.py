"""The world: one file per outside library, which translates and decides nothing."""
