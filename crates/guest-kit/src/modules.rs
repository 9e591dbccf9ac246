//! Which modules a guest needs, and in which order they load.
